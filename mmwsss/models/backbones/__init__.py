"""Backbones: transformers with readable attention."""
from .attention_vit import AttentionViT

__all__ = ['AttentionViT']
