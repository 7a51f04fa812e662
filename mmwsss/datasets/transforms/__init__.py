from .augment import ColorJitter, RandomFlip, RandomRescale
from .formatting import PackWSSSInputs
from .hsv_jitter import HSVJitter
from .load_images import LoadImage, LoadMask, LoadSaliency
from .load_instances import LoadInstances
from .resize import (
                     PlaceCrop,
                     RandomLongSideResize,
                     RandomSquareCrop,
                     SquareResize,
)

__all__ = [
    'ColorJitter', 'HSVJitter', 'LoadImage', 'LoadInstances', 'LoadMask',
    'LoadSaliency', 'PackWSSSInputs', 'PlaceCrop', 'RandomFlip',
    'RandomLongSideResize', 'RandomRescale', 'RandomSquareCrop', 'SquareResize'
]
