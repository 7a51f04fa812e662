"""Pixel-adaptive mask refinement: maps averaged among alike neighbours."""
from typing import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """The 8 neighbours at each dilation, as views of one padded copy.

    Args:
        maps (Tensor): (N, C, H, W). Its border values go on outside.
        dilations (Sequence[int]): In pixels.

    Yields:
        Tensor: (N, C, H, W), shifted.
    """
    height, width = maps.shape[-2:]
    reach = max(dilations)
    padded = F.pad(maps, (reach, ) * 4, mode='replicate')
    for d in dilations:
        for dy in (-d, 0, d):
            for dx in (-d, 0, d):
                if dy or dx:
                    yield padded[..., reach + dy:reach + dy + height,
                                 reach + dx:reach + dx + width]


def pamr_affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """How much each pixel takes from each of its neighbours.

    softmax over the neighbours p of the mean over colours of
    -|I - I_p| / (1e-8 + 0.1 s), where s is the standard deviation of the
    colour over the 3 x 3 windows of all dilations (Araslanov and Roth,
    "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
    equation 4).

    Args:
        image (Tensor): (N, 3, H, W), 0..255.
        dilations (Sequence[int]): In pixels.

    Returns:
        Tensor: (8 * len(dilations), N, 1, H, W), summing to one over the
        first dimension.
    """
    # Measured from the pixel itself, which keeps the sums of squares exact
    # for 8-bit images; each window holds the pixel as well, with 0.
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for neighbour in _neighbours(image, dilations):
        difference = neighbour - image
        total += difference
        squares += difference.square()
    count = 9 * len(dilations)
    variance = (squares - total.square() / count) / (count - 1)
    scale = 1e-8 + 0.1 * variance.clamp_(min=0).sqrt()
    return torch.stack([
        -((neighbour - image).abs() / scale).mean(dim=1, keepdim=True)
        for neighbour in _neighbours(image, dilations)
    ]).softmax(dim=0)


@MODELS.register_module()
class PAMR(nn.Module):
    """Refine maps by the colours of the image.

    Each step replaces a pixel by the weighted mean of its neighbours at all
    dilations. No gradient flows through it. Maps do not mix, so pass those of
    present classes only: the others cost as much. Peak memory is one plane per
    neighbour and a few copies of the maps, not one copy per neighbour.

    Args:
        num_iters (int): Steps. Defaults to 10.
        dilations (Sequence[int]): Distances of the neighbours in pixels.
            Defaults to (1, 2, 4, 8, 12, 24).

    Raises:
        ValueError: If there is no dilation or one is not positive.
    """

    def __init__(
            self,
            num_iters: int = 10,
            dilations: Sequence[int] = (1, 2, 4, 8, 12, 24)) -> None:
        super().__init__()
        if not dilations or min(dilations) < 1:
            raise ValueError(
                f'PAMR needs dilations of 1 pixel or more, got {dilations}.')
        self.num_iters = num_iters
        self.dilations = tuple(dilations)

    @torch.no_grad()
    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        """Refine the maps.

        Args:
            image (Tensor): (N, 3, H, W), 0..255, float or uint8.
            maps (Tensor): (N, K, h, w), resized to the image first (bilinear,
                corners aligned).

        Returns:
            Tensor: float32 (N, K, H, W).

        Raises:
            ValueError: If the shapes do not fit.
        """
        if image.ndim != 4 or maps.ndim != 4 or len(image) != len(maps):
            raise ValueError(
                'PAMR needs images (N, C, H, W) and as many maps (N, K, h, w),'
                f' got {tuple(image.shape)} and {tuple(maps.shape)}.')
        image, maps = image.float(), maps.float()
        if not maps.numel():
            return maps.new_zeros(*maps.shape[:2], *image.shape[-2:])
        if maps.shape[-2:] != image.shape[-2:]:
            maps = F.interpolate(
                maps,
                size=image.shape[-2:],
                mode='bilinear',
                align_corners=True)
        # On a CPU one image at a time, whose planes stay in the cache.
        step = 1 if maps.device.type == 'cpu' else len(maps)
        return torch.cat([
            self.average(*pair)
            for pair in zip(image.split(step), maps.split(step))
        ])

    def average(self, image: Tensor, maps: Tensor) -> Tensor:
        """All steps.

        Args:
            image (Tensor): (N, 3, H, W), 0..255.
            maps (Tensor): (N, K, H, W).

        Returns:
            Tensor: (N, K, H, W).
        """
        affinity = pamr_affinity(image, self.dilations)
        for _ in range(self.num_iters):
            refined = torch.zeros_like(maps)
            for weight, neighbour in zip(
                    affinity, _neighbours(maps, self.dilations)):
                refined.addcmul_(weight, neighbour)
            maps = refined
        return maps
