"""The same image at another size."""
from typing import Tuple

import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import MODELS

from .second_view import SecondView


@MODELS.register_module()
class Rescale(SecondView):
    """Resize the image bilinearly (SEAM, section 3.2).

    Args:
        scale (float): Factor on both sides, above 0. Defaults to 0.3.
        align_corners (bool): Corner alignment of all resizing.
            Defaults to True.

    Raises:
        ValueError: If ``scale`` is not positive.
    """

    def __init__(self, scale: float = 0.3, align_corners: bool = True) -> None:
        if scale <= 0:
            raise ValueError(f'Rescale needs scale > 0, got {scale}.')
        self.scale = scale
        self.align_corners = align_corners

    def apply(self, maps: Tensor) -> Tensor:
        """Resize (N, C, H, W) by the factor, to at least 1 x 1."""
        size = [max(int(s * self.scale), 1) for s in maps.shape[-2:]]
        return self.inverse(maps, size)

    def inverse(self, maps: Tensor, size: Tuple[int, int]) -> Tensor:
        """Resize (N, C, h, w) to ``size``."""
        return F.interpolate(
            maps,
            size=tuple(size),
            mode='bilinear',
            align_corners=self.align_corners)
