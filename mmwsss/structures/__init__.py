"""What travels between the parts of a model."""
from .view_output import AttentionRequest, FusedCAMs, ViewOutput, ViewPair

__all__ = ['AttentionRequest', 'FusedCAMs', 'ViewOutput', 'ViewPair']
