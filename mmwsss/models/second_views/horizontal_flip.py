"""The mirror image."""

import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import MODELS

from .second_view import SecondView


@MODELS.register_module()
class HorizontalFlip(SecondView):
    """Mirror the image left to right (ACR, section 3 of its code's recipe)."""
    keeps_grid = True

    def apply(self, maps: Tensor) -> Tensor:
        """Mirror (N, C, H, W)."""
        return maps.flip(-1)

    def inverse(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Mirror (N, C, h, w) back, resized to ``size`` if it differs."""
        maps = maps.flip(-1)
        if tuple(maps.shape[-2:]) != tuple(size):
            maps = F.interpolate(
                maps, size=size, mode='bilinear', align_corners=False)
        return maps

    def align_tokens(self, tokens: Tensor) -> Tensor:
        """Reverse the columns of (N, gh, gw, D)."""
        return tokens.flip(2)
