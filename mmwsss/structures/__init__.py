"""What travels between the parts of a model."""
from .view_output import AttentionRequest, ViewOutput, ViewPair

__all__ = ['AttentionRequest', 'ViewOutput', 'ViewPair']
