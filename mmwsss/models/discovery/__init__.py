"""Objects found without labels by frozen networks."""
from .linear_saliency import LinearSaliency
from .object_discovery import ObjectDiscovery, refine_masks
from .patch_tokens import cached_patch_tokens, read_patch_tokens

__all__ = [
    'LinearSaliency', 'ObjectDiscovery', 'cached_patch_tokens',
    'read_patch_tokens', 'refine_masks'
]
