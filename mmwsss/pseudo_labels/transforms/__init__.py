"""Steps of a ``refine_dataset`` pipeline and of training on its results."""
from .affinity_labels import (
                              AffinityLabel,
                              DownscaleLabel,
                              LoadPseudoMask,
                              LoadScores,
)
from .crf import CRFScores, PAMRCams
from .load_cams import LoadCAMs
from .pseudo_masks import (
                              CompleteLabels,
                              CRFMask,
                              IRNLabel,
                              ScoreMask,
                              ThresholdMask,
)
from .refine_with_proposals import RefineWithProposals
from .writers import SaveCAMs, SaveMask, SaveScores

__all__ = [
    'AffinityLabel', 'CRFMask', 'CRFScores', 'CompleteLabels',
    'DownscaleLabel', 'IRNLabel', 'LoadCAMs', 'LoadPseudoMask', 'LoadScores',
    'PAMRCams', 'RefineWithProposals', 'SaveCAMs', 'SaveMask', 'SaveScores',
    'ScoreMask', 'ThresholdMask'
]
