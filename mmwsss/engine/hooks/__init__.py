"""Hooks."""
from .checkpoint_hook import AtomicCheckpointHook
from .gallery_hook import GalleryHook
from .save_cams_hook import SaveCAMsHook

__all__ = ['AtomicCheckpointHook', 'GalleryHook', 'SaveCAMsHook']
