"""Necks: feature maps of transformers for decoders."""
from .dpt_reassemble import DPTReassemble

__all__ = ['DPTReassemble']
