"""Metrics."""
from .cam_iou_metric import CAMIoUMetric
from .pseudo_label_iou import PseudoLabelIoU

__all__ = ['CAMIoUMetric', 'PseudoLabelIoU']
