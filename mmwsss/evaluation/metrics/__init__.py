"""Metrics."""
from .cam_iou_metric import CAMIoUMetric
from .instance_ap import InstanceAP
from .pseudo_label_iou import PseudoLabelIoU

__all__ = ['CAMIoUMetric', 'InstanceAP', 'PseudoLabelIoU']
