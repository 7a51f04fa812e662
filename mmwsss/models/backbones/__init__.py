"""Backbones: transformers with readable attention, and their stems."""
from .attention_vit import AttentionViT
from .hybrid_vit import HybridViT
from .resnet38 import ResNet38
from .resnet_with_stem import ResNetWithStem
from .weight_std_resnet import WeightStdResNet

__all__ = [
    'AttentionViT', 'HybridViT', 'ResNet38', 'ResNetWithStem',
    'WeightStdResNet'
]
