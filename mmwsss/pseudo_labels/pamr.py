"""Pixel-adaptive mask refinement: maps averaged among alike neighbours."""
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.transfer import send


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


def neighbour_rows(size: Sequence[int], dilations: Sequence[int],
                   device: torch.device) -> Tensor:
    """Where the same neighbours lie, of all pixels at once.

    A GPU gathers them in one step, where a CPU is faster with one neighbour
    after the other.

    Args:
        size (Sequence[int]): Height and width.
        dilations (Sequence[int]): In pixels.
        device (torch.device): Where the result is needed.

    Returns:
        Tensor: int32 (H * W, 8 * len(dilations)), places in the flat image.
    """
    steps = send(
        torch.tensor([(dy, dx) for d in dilations for dy in (-d, 0, d)
                      for dx in (-d, 0, d) if dy or dx],
                     dtype=torch.int32), device)
    y, x = (
        (torch.arange(side, device=device, dtype=torch.int32)[:, None] +
         step).clamp_(0, side - 1) for side, step in zip(size, steps.T))
    return (y[:, None] * size[1] + x).flatten(0, 1)


def _over_neighbours(image: Tensor, dilations: Sequence[int],
                     rows: Tensor | None, count: int,
                     scale: Callable[[Tensor], Tensor],
                     term: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over colours of a term, for each neighbour of each pixel.

    Args:
        image (Tensor): (N, 3, H, W), 0..255.
        dilations (Sequence[int]): In pixels.
        rows (Tensor, optional): See :func:`pamr_affinity`.
        count (int): Number of values that a colour's standard deviation is
            taken over: those of the neighbours and as many times the pixel's
            own as there are more.
        scale (Callable): From standard deviations (N, 3, H, W) to what
            differences from the pixel are divided by.
        term (Callable): Of the scaled differences, in place.

    Returns:
        Tensor: (8 * len(dilations), N, 1, H, W), in the order of
        :func:`_neighbours`.
    """
    # The deviation is measured from the pixel itself: sums of squares are
    # exact for 8-bit images, and its own value is 0.
    if rows is None:
        total, squares = torch.zeros_like(image), torch.zeros_like(image)
        for neighbour in _neighbours(image, dilations):
            difference = neighbour - image
            total += difference
            squares += difference.square()
        variance = (squares - total.square() / count) / (count - 1)
        divisor = scale(variance.clamp_(min=0).sqrt())
        return torch.stack([
            term((neighbour - image) / divisor).mean(dim=1, keepdim=True)
            for neighbour in _neighbours(image, dilations)
        ])
    flat = image.flatten(2)
    differences = flat.index_select(2, rows.flatten()).unflatten(
        2, rows.shape).sub_(flat[..., None])
    num = rows.shape[1]
    variance, mean = torch.var_mean(differences, dim=3, correction=0)
    # With the zeros of the pixel itself.
    variance = (variance + (1 - num / count) * mean.square()) * (
        num / (count - 1))
    differences.div_(scale(variance.sqrt())[..., None])
    means = term(differences).mean(dim=1, keepdim=True)
    return means.movedim(3, 0).unflatten(3, image.shape[2:])


def pamr_affinity(image: Tensor,
                  dilations: Sequence[int],
                  rows: Tensor | None = None) -> Tensor:
    """How much each pixel takes from each of its neighbours.

    softmax over the neighbours p of the mean over colours of
    -|I - I_p| / (1e-8 + 0.1 s), where s is the standard deviation of the
    colour over the 3 x 3 windows of all dilations (Araslanov and Roth,
    "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
    equation 4).

    Args:
        image (Tensor): (N, 3, H, W), 0..255.
        dilations (Sequence[int]): In pixels.
        rows (Tensor, optional): Places of the neighbours, of
            :func:`neighbour_rows`, to take all at once. None takes one after
            the other. Defaults to None.

    Returns:
        Tensor: (8 * len(dilations), N, 1, H, W), summing to one over the
        first dimension.
    """
    # Each window holds the pixel as well.
    return _over_neighbours(image, dilations, rows, 9 * len(dilations),
                            lambda deviation: 1e-8 + 0.1 * deviation,
                            Tensor.abs_).neg_().softmax(dim=0)


#: What the part of PAR's weights that knows only distances sums to.
PAR_DISTANCE_WEIGHT = 0.01


def par_affinity(image: Tensor,
                 dilations: Sequence[int],
                 rows: Tensor | None = None) -> Tensor:
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
        rows (Tensor, optional): See :func:`pamr_affinity`.

    Returns:
        Tensor: (8 * len(dilations), N, 1, H, W), summing to 1.01 over the
        first dimension.
    """
    colours = _over_neighbours(image, dilations, rows, 8 * len(dilations),
                               lambda deviation: 0.3 * (1e-8 + deviation),
                               Tensor.square_).neg_().softmax(dim=0)
    # In the order of _neighbours.
    distance = send(
        torch.tensor([
            d * (dy * dy + dx * dx)**0.5 for d in dilations
            for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
        ]), image.device).to(image)
    distances = (-(distance / (0.3 * distance.std())).square()).softmax(dim=0)
    return colours.add_(
        distances.view(-1, 1, 1, 1, 1), alpha=PAR_DISTANCE_WEIGHT)


@MODELS.register_module()
class PAMR(nn.Module):
    """Refine maps by the colours of the image.

    Each step replaces a pixel by the weighted mean of its neighbours at all
    dilations. No gradient flows through it. Maps do not mix, so pass those of
    present classes only: the others cost as much. Peak memory is one plane per
    neighbour (on a GPU five) and a few copies of the maps, not one copy per
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
        kernel = self.KERNELS[self.kernel]
        if maps.device.type != 'cpu':
            rows = neighbour_rows(maps.shape[2:], self.dilations, maps.device)
            return self._average_at_once(
                kernel(image, self.dilations, rows), maps, rows)
        affinity = kernel(image, self.dilations)
        for _ in range(self.num_iters):
            refined = torch.zeros_like(maps)
            for weight, neighbour in zip(
                    affinity, _neighbours(maps, self.dilations)):
                refined.addcmul_(weight, neighbour)
            maps = refined
        return maps

    def _average_at_once(self, affinity: Tensor, maps: Tensor,
                         rows: Tensor) -> Tensor:
        """All steps, one launch each: a pixel is a bag of its neighbours."""
        n, k, height, width = maps.shape
        # Of each image those of its own.
        first = torch.arange(
            0, n * len(rows), len(rows), device=rows.device, dtype=rows.dtype)
        rows = (first[:, None, None] + rows).flatten()
        starts = torch.arange(
            0, len(rows), len(affinity), device=rows.device, dtype=rows.dtype)
        weights = affinity.flatten(1).T.flatten()
        values = maps.movedim(1, 3).reshape(-1, k)
        for _ in range(self.num_iters):
            values = F.embedding_bag(
                rows, values, starts, mode='sum', per_sample_weights=weights)
        return values.view(n, height, width, k).movedim(3, 1).contiguous()
