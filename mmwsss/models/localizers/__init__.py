"""How CAMs are read out of a classifier."""
from .cam import CAM
from .class_attention_cam import ClassAttentionCAM
from .getam import GETAM
from .localizer import Localizer
from .refined_cam import RefinedCAM
from .softmax_cam import SoftmaxCAM
from .weighted_attention_cam import WeightedAttentionCAM

__all__ = [
    'Localizer', 'CAM', 'ClassAttentionCAM', 'GETAM', 'RefinedCAM',
    'SoftmaxCAM', 'WeightedAttentionCAM'
]
