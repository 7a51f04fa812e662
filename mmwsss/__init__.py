"""Weakly-supervised semantic segmentation on top of MMSegmentation.

Importing the package registers nothing and loads no model code: the
registries in ``mmwsss.registry`` import what they need when a config first
asks for it. It only looks whether the libraries underneath are there, and,
beside mmdet, whether mmcv has compiled operations.
"""
from .utils.mmcv_ops import support_mmdet
from .utils.requirements import check_requirements
from .version import __version__

check_requirements()
support_mmdet()

__all__ = ['__version__']
