"""What turns class maps into better ones, image by image."""
from .dense_crf import DenseCRF
from .label_completion import LabelCompletion, complete_labels
from .pamr import PAMR
from .pixel_correlation_module import (PixelCorrelationModule, competing_maps,
                                       pixel_correlation)
from .random_walk import (edge_affinity, random_walk, walk_scores_irn,
                          walk_scores_psa)

__all__ = [
    'DenseCRF', 'LabelCompletion', 'PAMR', 'PixelCorrelationModule',
    'competing_maps', 'complete_labels', 'edge_affinity', 'pixel_correlation',
    'random_walk', 'walk_scores_irn', 'walk_scores_psa'
]
