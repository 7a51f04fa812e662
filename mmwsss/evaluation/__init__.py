"""How good CAMs and masks are."""
from .functional import (
                         ScoreBins,
                         ThresholdCurve,
                         best_class,
                         curve_from_confusion,
                         curve_from_histogram,
                         score_histogram,
)
from .metrics import (
                         CAMIoUMetric,
                         InstanceAP,
                         PseudoLabelIoU,
                         RefinementIoUMetric,
)

__all__ = [
    'CAMIoUMetric', 'InstanceAP', 'PseudoLabelIoU', 'RefinementIoUMetric',
    'ScoreBins', 'ThresholdCurve', 'best_class', 'curve_from_confusion',
    'curve_from_histogram', 'score_histogram'
]
