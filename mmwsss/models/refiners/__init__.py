"""Refiners that hold a network or read a view of one."""
from .frozen_affinity import (
                              FrozenAffinity,
                              attention_affinity,
                              cosine_affinity,
                              sinkhorn_affinity,
)
from .pixel_correlation_module import (
                              PixelCorrelationModule,
                              competing_maps,
                              pixel_correlation,
)

__all__ = [
    'FrozenAffinity', 'PixelCorrelationModule', 'attention_affinity',
    'competing_maps', 'cosine_affinity', 'pixel_correlation',
    'sinkhorn_affinity'
]
