"""Class heads and their pooling."""
from .cam_head import CAMHead
from .class_head import ClassHead
from .class_token_head import ClassTokenHead
from .pooling import GlobalAveragePooling

__all__ = ['ClassHead', 'CAMHead', 'ClassTokenHead', 'GlobalAveragePooling']
