"""Objects found without labels by frozen networks."""
from .object_discovery import ObjectDiscovery
from .patch_tokens import read_patch_tokens

__all__ = ['ObjectDiscovery', 'read_patch_tokens']
