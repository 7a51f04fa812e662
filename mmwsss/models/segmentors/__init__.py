"""Models that mmseg's train and test loops run."""
from .cam_segmentor import CAMSegmentor

__all__ = ['CAMSegmentor']
