"""Helpers that several components share."""
from .feature_bank import FeatureBank
from .global_batch import GlobalBatch
from .kmeans import cluster_points, kmeans
from .training_phase import segments_at

__all__ = [
    'FeatureBank', 'GlobalBatch', 'cluster_points', 'kmeans', 'segments_at'
]
