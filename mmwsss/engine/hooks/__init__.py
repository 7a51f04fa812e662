"""Hooks."""
from .checkpoint_hook import AtomicCheckpointHook
from .gallery_hook import GalleryHook
from .save_cams_hook import SaveCAMsHook
from .save_masks_hook import SaveMasksHook

__all__ = [
    'AtomicCheckpointHook', 'GalleryHook', 'SaveCAMsHook', 'SaveMasksHook'
]
