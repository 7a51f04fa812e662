"""From CAMs of several views to one normalised map per class."""
from collections.abc import Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

NORMALIZATIONS = ('minmax', 'max', 'shifted')
FUSIONS = ('sum', 'max')
INTERPOLATIONS = ('bilinear', 'bicubic')


def resize_image(inputs: Tensor,
                 size: tuple[int, int],
                 interpolation: str = 'bilinear') -> Tensor:
    """Resize network inputs to one of the scales of a prediction.

    Args:
        inputs (Tensor): (N, C, H, W).
        size (tuple[int, int]): New height and width.
        interpolation (str): ``'bilinear'``, or ``'bicubic'`` with
            antialiasing, Pillow's rule, with which SEAM makes the scales of a
            picture; unlike Pillow's, results are not rounded to whole grey
            levels and may leave the range of the input a little.

    Returns:
        Tensor: (N, C, *size); ``inputs`` itself if it has that size.

    Raises:
        ValueError: If ``interpolation`` is unknown.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f'test_cfg.interpolation is {interpolation!r}, not '
                         f'one of {INTERPOLATIONS}.')
    if inputs.shape[-2:] == tuple(size):
        return inputs
    return F.interpolate(
        inputs,
        size=tuple(size),
        mode=interpolation,
        align_corners=False,
        antialias=interpolation == 'bicubic')


def resize_maps(maps: Tensor,
                size: tuple[int, int],
                align_corners: bool,
                covered: tuple[float, float] = (1., 1.)) -> Tensor:
    """Bring maps of a padded input to the size of the original image.

    Args:
        maps (Tensor): (K', h, w), over the padded input.
        size (tuple[int, int]): Height and width of the original image.
        align_corners (bool): Corner alignment of the bilinear resizing.
        covered (tuple[float, float]): Share of the padded input's height and
            width that shows the image; the rest at the bottom and right is
            cut off. Defaults to (1, 1).

    Returns:
        Tensor: (K', *size); K' may be 0.
    """
    if not len(maps):
        return maps.new_zeros((0, *size))
    full = [max(round(s / c), s) for s, c in zip(size, covered)]
    maps = F.interpolate(
        maps[None], size=full, mode='bilinear', align_corners=align_corners)
    return maps[0, :, :size[0], :size[1]]


def normalize_maps(maps: Tensor,
                   mode: str = 'minmax',
                   eps: float = 1e-6) -> Tensor:
    """Scale each map to [0, 1].

    Args:
        maps (Tensor): (K', h, w).
        mode (str): ``'minmax'``: (x - min) / (max - min + eps), as ACR does;
            ``'max'``: x / (max + eps), for maps that are not negative;
            ``'shifted'``: (y - min - eps) / (max - min + eps), as SEAM does
            at inference, where y is x without its negative part, min and max
            are of that, and pixels below min + eps count as zero. These come
            out negative, an empty map as -1 everywhere: clamp at 0 for
            scores.
        eps (float): Keeps empty maps finite. Defaults to 1e-6.

    Returns:
        Tensor: (K', h, w).

    Raises:
        ValueError: If ``mode`` is unknown.
    """
    if mode not in NORMALIZATIONS:
        raise ValueError(
            f'test_cfg.normalize is {mode!r}, not one of {NORMALIZATIONS}.')
    if mode == 'shifted':
        maps = maps.clamp(min=0)
    high = maps.amax(dim=(1, 2), keepdim=True)
    if mode == 'max':
        return maps / (high + eps)
    low = maps.amin(dim=(1, 2), keepdim=True)
    if mode == 'shifted':
        maps = maps.masked_fill(maps < low + eps, 0.)
        return (maps - low - eps) / (high - low + eps)
    return (maps - low) / (high - low + eps)


def fuse_maps(maps: Iterable[Tensor], mode: str = 'sum') -> Tensor:
    """Join the maps of several views.

    Args:
        maps (Iterable[Tensor]): Equal shapes; two at a time are kept.
        mode (str): ``'sum'`` or ``'max'``.

    Returns:
        Tensor: One map of that shape.

    Raises:
        ValueError: If ``mode`` is unknown.
    """
    if mode not in FUSIONS:
        raise ValueError(f'test_cfg.fuse (or flip_fuse) is {mode!r}, not one '
                         f'of {FUSIONS}.')
    return reduce(torch.add if mode == 'sum' else torch.maximum, maps)
