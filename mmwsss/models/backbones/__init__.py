"""Backbones: readable transformers and their stems, frozen networks."""
from .attention_vit import AttentionViT
from .dilated_mobilenet_v2 import DilatedMobileNetV2
from .frozen_features import FrozenBackbone, FrozenFeatures
from .hybrid_vit import HybridViT
from .resnet38 import ResNet38
from .resnet_with_stem import ResNetWithStem
from .timm_backbone import TimmBackbone
from .weight_std_resnet import WeightStdResNet

__all__ = [
    'AttentionViT', 'DilatedMobileNetV2', 'FrozenBackbone', 'FrozenFeatures',
    'HybridViT', 'ResNet38', 'ResNetWithStem', 'TimmBackbone',
    'WeightStdResNet'
]
