"""How good class maps and masks are."""
from .functional import (ScoreBins, ThresholdCurve, best_class,
                         curve_from_confusion, curve_from_histogram,
                         score_histogram)
from .metrics import CAMIoUMetric

__all__ = [
    'CAMIoUMetric', 'ScoreBins', 'ThresholdCurve', 'best_class',
    'curve_from_confusion', 'curve_from_histogram', 'score_histogram'
]
