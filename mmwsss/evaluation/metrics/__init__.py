"""Metrics."""
from .cam_iou_metric import CAMIoUMetric
from .instance_ap import InstanceAP
from .pseudo_label_iou import PseudoLabelIoU
from .refinement_iou_metric import RefinementIoUMetric

__all__ = [
    'CAMIoUMetric', 'InstanceAP', 'PseudoLabelIoU', 'RefinementIoUMetric'
]
