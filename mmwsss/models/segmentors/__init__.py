"""Models that mmseg's train and test loops run."""
from .affinity_net import AffinityNet
from .affinity_refiner import AffinityRefiner
from .amn import AMN
from .cam_refiner import CAMRefiner
from .cam_segmentor import CAMSegmentor
from .co_training_segmentor import CoTrainingSegmentor
from .discovery_segmentor import DiscoverySegmentor
from .end_to_end_segmentor import EndToEndSegmentor
from .frozen_encoder_decoder import FrozenEncoderDecoder
from .irnet import IRNet
from .multi_scale_encoder_decoder import MultiScaleEncoderDecoder
from .refined_segmentor import RefinedSegmentor
from .seg_tta import SegTTAModel

__all__ = [
    'AMN', 'AffinityNet', 'AffinityRefiner', 'CAMRefiner', 'CAMSegmentor',
    'CoTrainingSegmentor', 'DiscoverySegmentor', 'EndToEndSegmentor',
    'FrozenEncoderDecoder', 'IRNet',
    'MultiScaleEncoderDecoder', 'RefinedSegmentor', 'SegTTAModel'
]
