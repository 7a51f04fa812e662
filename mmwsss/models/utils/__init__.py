"""Geometry and helpers that several components share."""
from .feature_bank import FeatureBank
from .global_batch import GlobalBatch
from .kmeans import cluster_points, kmeans
from .pixel_pairs import (from_slices, pair_labels, pair_offsets, pair_values,
                          path_affinity, path_cells, path_offsets,
                          scatter_pairs)
from .training_phase import segments_at

__all__ = [
    'FeatureBank', 'GlobalBatch', 'cluster_points', 'from_slices', 'kmeans',
    'pair_labels', 'pair_offsets', 'pair_values', 'path_affinity',
    'path_cells', 'path_offsets', 'scatter_pairs', 'segments_at'
]
