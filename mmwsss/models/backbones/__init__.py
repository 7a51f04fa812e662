"""Backbones: transformers with readable attention, and their stems."""
from .attention_vit import AttentionViT
from .hybrid_vit import HybridViT
from .weight_std_resnet import WeightStdResNet

__all__ = ['AttentionViT', 'HybridViT', 'WeightStdResNet']
