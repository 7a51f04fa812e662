"""The same image at another size."""

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
        size_divisor (int): Both sides of the result are rounded down to a
            multiple of it, at least one. Set it to a transformer's patch
            size, so that the smaller view needs no padding. Defaults to 1.

    Raises:
        ValueError: If ``scale`` or ``size_divisor`` is not positive.
    """

    def __init__(self,
                 scale: float = 0.3,
                 align_corners: bool = True,
                 size_divisor: int = 1) -> None:
        if scale <= 0:
            raise ValueError(f'Rescale needs scale > 0, got {scale}.')
        if size_divisor < 1:
            raise ValueError(
                f'Rescale needs size_divisor >= 1, got {size_divisor}.')
        self.scale = scale
        self.align_corners = align_corners
        self.size_divisor = size_divisor

    def apply(self, maps: Tensor) -> Tensor:
        """Resize (N, C, H, W) by the factor, to at least one divisor."""
        # int() of this product is the size that torch's scale_factor gives.
        sides = [int(s * self.scale) for s in maps.shape[-2:]]
        return self.inverse(
            maps, [
                max(s // self.size_divisor, 1) * self.size_divisor
                for s in sides
            ])

    def inverse(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize (N, C, h, w) to ``size``."""
        return F.interpolate(
            maps,
            size=tuple(size),
            mode='bilinear',
            align_corners=self.align_corners)
