from .affinity_labels import (AffinityLabel, DownscaleLabel,
                              LoadPseudoMask, LoadScores)
from .augment import ColorJitter, RandomFlip, RandomRescale
from .crf import CRFScores, PAMRCams
from .formatting import PackWSSSInputs
from .hsv_jitter import HSVJitter
from .load_cams import LoadCAMs
from .load_instances import LoadInstances
from .loading import LoadImage, LoadMask, LoadSaliency
from .pseudo_masks import (CompleteLabels, CRFMask, IRNLabel, ScoreMask,
                           ThresholdMask)
from .refine_with_proposals import RefineWithProposals
from .resize import (PlaceCrop, RandomLongSideResize, RandomSquareCrop,
                     SquareResize)
from .writers import SaveCAMs, SaveMask, SaveScores

__all__ = [
    'AffinityLabel', 'CRFMask', 'CRFScores', 'ColorJitter', 'CompleteLabels',
    'DownscaleLabel', 'HSVJitter', 'IRNLabel', 'LoadCAMs', 'LoadImage',
    'LoadInstances', 'LoadMask', 'LoadPseudoMask', 'LoadSaliency',
    'LoadScores', 'PAMRCams', 'PackWSSSInputs', 'PlaceCrop', 'RandomFlip',
    'RandomLongSideResize', 'RandomRescale', 'RandomSquareCrop',
    'RefineWithProposals', 'SaveCAMs', 'SaveMask', 'SaveScores', 'ScoreMask',
    'SquareResize', 'ThresholdMask'
]
