"""Pixel-adaptive mask refinement: maps averaged among alike neighbours."""
from collections.abc import Callable, Iterator, Sequence

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


def _windows(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """The same as 3 x 3 windows around each pixel, the pixel in the middle.

    A GPU takes them at once, where a CPU is faster with one neighbour after
    the other.

    Args:
        maps (Tensor): (N, C, H, W). Its border values go on outside.
        dilations (Sequence[int]): In pixels.

    Yields:
        Tensor: (N, C, 3, 3, H, W), a view.
    """
    height, width = maps.shape[-2:]
    reach = max(dilations)
    padded = F.pad(maps, (reach, ) * 4, mode='replicate')
    for d in dilations:
        part = padded[..., reach - d:reach + d + height,
                      reach - d:reach + d + width]
        # Shifted by -d, 0 and d.
        yield part.unfold(2, height, d).unfold(3, width, d)


def _deviation(image: Tensor, dilations: Sequence[int],
               count: int) -> Tensor:
    """Standard deviation of each colour over neighbours at all dilations.

    Args:
        image (Tensor): (N, 3, H, W), 0..255.
        dilations (Sequence[int]): In pixels.
        count (int): Number of values: those of the neighbours and as many
            times the pixel's own as there are more.

    Returns:
        Tensor: (N, 3, H, W).
    """
    # Measured from the pixel itself, which keeps the sums of squares exact
    # for 8-bit images and makes its own value 0.
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    if image.device.type == 'cpu':
        for neighbour in _neighbours(image, dilations):
            difference = neighbour - image
            total += difference
            squares += difference.square()
    else:
        for window in _windows(image, dilations):
            difference = window - image[:, :, None, None]
            total += difference.sum((2, 3))
            squares += difference.square().sum((2, 3))
    variance = (squares - total.square() / count) / (count - 1)
    return variance.clamp_(min=0).sqrt()


def _over_neighbours(image: Tensor, dilations: Sequence[int], scale: Tensor,
                     term: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over colours of a term, for each neighbour of each pixel.

    Args:
        image (Tensor): (N, 3, H, W).
        dilations (Sequence[int]): In pixels.
        scale (Tensor): (N, 3, H, W), what differences are divided by.
        term (Callable): Of the scaled differences, place by place.

    Returns:
        Tensor: (8 * len(dilations), N, 1, H, W), in the order of
        :func:`_neighbours`.
    """
    if image.device.type == 'cpu':
        return torch.stack([
            term((neighbour - image) / scale).mean(dim=1, keepdim=True)
            for neighbour in _neighbours(image, dilations)
        ])
    means = torch.stack([
        term((window - image[:, :, None, None]) /
             scale[:, :, None, None]).mean(dim=1, keepdim=True)
        for window in _windows(image, dilations)
    ]).flatten(3, 4)
    # The pixel in the middle is no neighbour.
    means = torch.cat((means[:, :, :, :4], means[:, :, :, 5:]), dim=3)
    return means.movedim(3, 1).flatten(0, 1)


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
    # Each window holds the pixel as well.
    scale = 1e-8 + 0.1 * _deviation(image, dilations, 9 * len(dilations))
    return _over_neighbours(image, dilations, scale,
                            torch.abs).neg_().softmax(dim=0)


#: What the part of PAR's weights that knows only distances sums to.
PAR_DISTANCE_WEIGHT = 0.01


def par_affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """The same for pixel-adaptive refinement (PAR).

    softmax over the neighbours p of the mean over colours of
    -((I - I_p) / (0.3 s))^2, plus 0.01 times the softmax of
    -(r_p / (0.3 s_r))^2 with the neighbours' distances r, where s and s_r are
    the standard deviations over the neighbours, without the pixel. From AFA
    (https://arxiv.org/abs/2203.02664), with the constants of ToCo
    (https://arxiv.org/abs/2303.01267).

    Args:
        image (Tensor): (N, 3, H, W), 0..255.
        dilations (Sequence[int]): In pixels.

    Returns:
        Tensor: (8 * len(dilations), N, 1, H, W), summing to 1.01 over the
        first dimension.
    """
    scale = 0.3 * (1e-8 + _deviation(image, dilations, 8 * len(dilations)))
    colours = _over_neighbours(image, dilations, scale,
                               torch.square).neg_().softmax(dim=0)
    # In the order of _neighbours.
    distance = image.new_tensor([
        d * (dy * dy + dx * dx)**0.5 for d in dilations for dy in (-1, 0, 1)
        for dx in (-1, 0, 1) if dy or dx
    ])
    distances = (-(distance / (0.3 * distance.std())).square()).softmax(dim=0)
    return colours.add_(
        distances.view(-1, 1, 1, 1, 1), alpha=PAR_DISTANCE_WEIGHT)


@MODELS.register_module()
class PAMR(nn.Module):
    """Refine maps by the colours of the image.

    Each step replaces a pixel by the weighted mean of its neighbours at all
    dilations. No gradient flows through it. Maps do not mix, so pass those of
    present classes only: the others cost as much. Peak memory is one plane per
    neighbour and a few copies of the maps (on a GPU ten), not one copy per
    neighbour.

    ``kernel='par'`` is PAR, the refinement of ToCo: other weights of the same
    neighbours. They sum to 1.01, as published, so every step multiplies the
    level of the maps by that much, :attr:`gain` after all of them. A constant
    threshold has to be multiplied as well, be refined as a map of its own, or
    be put after a normalisation.

    Args:
        num_iters (int): Steps. Defaults to 10.
        dilations (Sequence[int]): Distances of the neighbours in pixels.
            Defaults to (1, 2, 4, 8, 12, 24).
        kernel (str): 'pamr' (see :func:`pamr_affinity`) or 'par' (see
            :func:`par_affinity`). Defaults to 'pamr'.

    Raises:
        ValueError: If there is no dilation or one is not positive, or the
            kernel is none of these.
    """
    KERNELS = dict(pamr=pamr_affinity, par=par_affinity)

    def __init__(self,
                 num_iters: int = 10,
                 dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
                 kernel: str = 'pamr') -> None:
        super().__init__()
        if not dilations or min(dilations) < 1:
            raise ValueError(
                f'PAMR needs dilations of 1 pixel or more, got {dilations}.')
        if kernel not in self.KERNELS:
            raise ValueError(f'PAMR knows the kernels {list(self.KERNELS)}, '
                             f'got {kernel!r}.')
        self.num_iters = num_iters
        self.dilations = tuple(dilations)
        self.kernel = kernel

    @property
    def gain(self) -> float:
        """Level of constant maps after refinement, relative to before."""
        if self.kernel == 'par':
            return (1 + PAR_DISTANCE_WEIGHT)**self.num_iters
        return 1.

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
        affinity = self.KERNELS[self.kernel](image, self.dilations)
        if maps.device.type != 'cpu':
            return self._average_windows(affinity, maps)
        for _ in range(self.num_iters):
            refined = torch.zeros_like(maps)
            for weight, neighbour in zip(
                    affinity, _neighbours(maps, self.dilations)):
                refined.addcmul_(weight, neighbour)
            maps = refined
        return maps

    def _average_windows(self, affinity: Tensor, maps: Tensor) -> Tensor:
        """All steps, with a few launches for each dilation."""
        weights = affinity.unflatten(0, (-1, 8))
        weights = torch.cat((weights[:, :4], torch.zeros_like(
            weights[:, :1]), weights[:, 4:]), dim=1)
        # (dilations, N, 1, 3, 3, H, W)
        weights = weights.unflatten(1, (3, 3)).permute(0, 3, 4, 1, 2, 5, 6)
        for _ in range(self.num_iters):
            refined = torch.zeros_like(maps)
            for weight, window in zip(weights,
                                      _windows(maps, self.dilations)):
                refined += (weight * window).sum((2, 3))
            maps = refined
        return maps
