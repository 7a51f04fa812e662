"""How CAMs are read out of a classifier."""
from .cam import CAM
from .getam import GETAM
from .localizer import Localizer
from .refined_cam import RefinedCAM
from .softmax_cam import SoftmaxCAM

__all__ = ['Localizer', 'CAM', 'GETAM', 'RefinedCAM', 'SoftmaxCAM']
