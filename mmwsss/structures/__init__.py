"""What travels between the parts of a pipeline."""
from .view_output import AttentionRequest, ViewOutput

__all__ = ['AttentionRequest', 'ViewOutput']
