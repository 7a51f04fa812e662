"""How the second look at an image is made, and undone."""
from .compose import Compose
from .horizontal_flip import HorizontalFlip
from .rescale import Rescale
from .second_view import SecondView

__all__ = ['SecondView', 'HorizontalFlip', 'Rescale', 'Compose']
