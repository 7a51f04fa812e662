from .formatting import PackWSSSInputs
from .loading import LoadImage, LoadMask
from .resize import (PlaceCrop, RandomLongSideResize, RandomSquareCrop,
                     SquareResize)

__all__ = [
    'LoadImage', 'LoadMask', 'PackWSSSInputs', 'PlaceCrop',
    'RandomLongSideResize', 'RandomSquareCrop', 'SquareResize'
]
