"""Losses that several heads share."""
from .affinity_loss import (affinity_loss, affinity_terms, displacement_terms,
                            global_means)

__all__ = [
    'affinity_loss', 'affinity_terms', 'displacement_terms', 'global_means'
]
