"""Hooks."""
from .checkpoint_hook import AtomicCheckpointHook
from .cudnn_benchmark_hook import CudnnBenchmarkHook
from .displacement_mean_hook import DisplacementMeanHook
from .feature_statistics_hook import FeatureStatisticsHook
from .gallery_hook import GalleryHook
from .runtime_info_hook import RuntimeInfoHook
from .save_cams_hook import SaveCAMsHook
from .save_instances_hook import SaveInstancesHook
from .save_masks_hook import SaveMasksHook

__all__ = [
    'AtomicCheckpointHook', 'CudnnBenchmarkHook', 'DisplacementMeanHook',
    'FeatureStatisticsHook', 'GalleryHook', 'RuntimeInfoHook', 'SaveCAMsHook',
    'SaveInstancesHook', 'SaveMasksHook'
]
