"""How class maps are read out of a classifier."""
from .cam import CAM
from .getam import GETAM
from .localizer import Localizer
from .refined_cam import RefinedCAM

__all__ = ['Localizer', 'CAM', 'GETAM', 'RefinedCAM']
