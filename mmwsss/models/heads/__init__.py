"""Class heads and their pooling."""
from .affinity_head import AffinityHead
from .attention_head_weights import AttentionHeadWeights
from .cam_head import CAMHead
from .class_head import ClassHead
from .class_token_head import ClassTokenHead
from .deeplab_v2_head import DeepLabV2Head
from .displacement_head import DisplacementHead
from .dpt_decoder_head import DPTDecoderHead
from .edge_head import EdgeHead
from .label_conditioned_head import LabelConditionedHead
from .large_fov_head import LargeFOVHead
from .multi_class_token_head import MultiClassTokenHead
from .pooling import (
                      GlobalAveragePooling,
                      GlobalWeightedRankPooling,
                      HybridPooling,
                      LogSumExpPooling,
                      ThresholdedAveragePooling,
                      TopSharePooling,
)
from .weighted_attention_head import WeightedAttentionHead

__all__ = [
    'AffinityHead', 'AttentionHeadWeights', 'CAMHead', 'ClassHead',
    'ClassTokenHead',
    'DPTDecoderHead', 'DeepLabV2Head', 'DisplacementHead', 'EdgeHead',
    'GlobalAveragePooling', 'GlobalWeightedRankPooling', 'HybridPooling',
    'LabelConditionedHead', 'LargeFOVHead', 'LogSumExpPooling',
    'MultiClassTokenHead', 'ThresholdedAveragePooling', 'TopSharePooling',
    'WeightedAttentionHead'
]
