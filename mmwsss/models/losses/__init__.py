"""Losses that several heads share, and those of segmentation logits."""
from .affinity_loss import (
                            affinity_loss,
                            affinity_terms,
                            displacement_terms,
                            global_means,
)
from .balanced_cross_entropy import BalancedCrossEntropy
from .capped_cross_entropy import CappedCrossEntropy, loss_caps
from .dense_energy_loss import DenseEnergyLoss
from .global_cross_entropy import GlobalCrossEntropy
from .info_nce import info_nce
from .multilabel_loss import multilabel_loss
from .saliency_loss import SaliencyLoss
from .swapped_cam_loss import SwappedCAMLoss

__all__ = [
    'BalancedCrossEntropy', 'CappedCrossEntropy', 'DenseEnergyLoss',
    'GlobalCrossEntropy', 'SaliencyLoss', 'SwappedCAMLoss',
    'affinity_loss', 'affinity_terms', 'displacement_terms',
    'global_means', 'info_nce', 'loss_caps', 'multilabel_loss'
]
