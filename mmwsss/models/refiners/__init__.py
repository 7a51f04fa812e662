"""What turns class maps into better ones, image by image."""
from .dense_crf import DenseCRF, DenseCRFRefiner
from .frozen_affinity import (FrozenAffinity, attention_affinity,
                              cosine_affinity, sinkhorn_affinity)
from .instances import (cluster_cells, find_fragments, instances_irn,
                        refine_centroids, split_planes)
from .label_completion import LabelCompletion, complete_labels
from .mask_proposals import refine_labels, refine_maps
from .pamr import PAMR
from .pixel_correlation_module import (PixelCorrelationModule, competing_maps,
                                       pixel_correlation)
from .random_walk import (edge_affinity, random_walk, walk_scores_irn,
                          walk_scores_psa)

__all__ = [
    'DenseCRF', 'DenseCRFRefiner', 'FrozenAffinity', 'LabelCompletion', 'PAMR',
    'PixelCorrelationModule', 'attention_affinity', 'cluster_cells',
    'competing_maps', 'complete_labels', 'cosine_affinity', 'edge_affinity',
    'find_fragments', 'instances_irn', 'pixel_correlation', 'random_walk',
    'refine_centroids', 'refine_labels', 'refine_maps', 'sinkhorn_affinity',
    'split_planes', 'walk_scores_irn', 'walk_scores_psa'
]
