"""Large pictures in overlapping tiles whose seams nobody sees."""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: Share of a tile's side that the next tile covers again, and at least how
#: much of it in steps of the grid: 8 patches of a ViT with patches of 16.
OVERLAP, MIN_OVERLAP = 1 / 6, 4
#: Where two tiles overlap, the outer quarters belong to one of them alone:
#: what a network makes of the cut edge of a tile is not looked at.
MARGIN = 1 / 4


class Span(NamedTuple):
    """What a tile covers of an axis, in pixels."""
    start: int
    stop: int


def split_axis(length: int, longest: int, grid: int) -> list[Span]:
    """Cut an axis into overlapping spans of equal length.

    Args:
        length (int): Pixels.
        longest (int): Longest span, a multiple of ``grid``.
        grid (int): All starts are multiples of it.

    Returns:
        list[Span]: From 0 to ``length``; the last one may be shorter.
    """
    if length <= longest:
        return [Span(0, length)]
    overlap = max(round(longest * OVERLAP / grid), MIN_OVERLAP) * grid
    count = -(-(length - overlap) // (longest - overlap))
    step = -(-(length - overlap) // (count * grid)) * grid
    return [
        Span(start, min(start + step + overlap, length))
        for start in range(0, length - overlap, step)
    ]


def plan_tiles(size: Sequence[int], max_pixels: int,
               grid: int) -> tuple[list[Span], list[Span]]:
    """Tiles of a picture, each of at most so many pixels.

    Args:
        size (Sequence[int]): Height and width.
        max_pixels (int): Of a tile.
        grid (int): All starts are multiples of it.

    Returns:
        tuple[list[Span], list[Span]]: Rows and columns of the tiles.

    Raises:
        ValueError: If tiles of that size would hold next to nothing.
    """
    # Not more than two tiles at a place.
    least = 3 * MIN_OVERLAP * grid
    if max_pixels < least**2:
        raise ValueError(
            f'test_cfg.max_pixels is {max_pixels}; tiles need at least '
            f'{least} x {least} = {least**2} pixels here.')
    side = int(max_pixels**0.5)
    # A long strip is cut across only.
    longest = [
        max(side, max_pixels // other if other < side else 0) // grid * grid
        for other in reversed(size)
    ]
    rows, columns = (
        split_axis(length, limit if length > side else length, grid)
        for length, limit in zip(size, longest))
    return rows, columns


def blend(spans: Sequence[Span], stride: int) -> list[Tensor]:
    """Weights of tiles along an axis; they add up to 1 everywhere.

    Args:
        spans (Sequence[Span]): Of the tiles, in pixels.
        stride (int): Pixels per cell of a map; divides all starts.

    Returns:
        list[Tensor]: float32 (cells,) per tile, rising and falling smoothly
        in the middle of where tiles overlap.
    """
    weights = [torch.ones(-(-(s.stop - s.start) // stride)) for s in spans]
    for i in range(len(spans) - 1):
        start, stop = spans[i + 1].start // stride, -(-spans[i].stop // stride)
        # Middles of the cells, 0 and 1 where the ramp begins and ends.
        at = (torch.arange(stop - start) + 0.5) / (stop - start)
        at = ((at - MARGIN) / (1 - 2 * MARGIN)).clamp(0, 1)
        ramp = at * at * (3 - 2 * at)
        weights[i][-len(ramp):] *= 1 - ramp
        weights[i + 1][:len(ramp)] *= ramp
    return weights


def resize_region(inputs: Tensor, size: Sequence[int], rows: Span,
                  columns: Span) -> Tensor:
    """A part of a resized picture, without making the whole.

    Args:
        inputs (Tensor): (N, C, H, W).
        size (Sequence[int]): Height and width of the whole resized picture.
        rows (Span): Of the part.
        columns (Span): Of the part.

    Returns:
        Tensor: (N, C, rows, columns), up to rounding what is cut out of
        bilinear :func:`~.fusion.resize_image`.
    """
    for axis, (new, span) in enumerate(zip(size, (rows, columns)), start=2):
        length = inputs.shape[axis]
        if new == length:
            inputs = inputs.narrow(axis, span.start, span.stop - span.start)
            continue
        # torch's rule for align_corners=False, in its float32.
        ratio = torch.tensor(length, dtype=torch.float32) / new
        at = torch.arange(span.start, span.stop, dtype=torch.float32)
        at = (ratio * (at + 0.5) - 0.5).clamp(min=0)
        low = at.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        share = (at - low).to(inputs)
        share = share[:, None] if axis == 2 else share
        low, high = low.to(inputs.device), high.to(inputs.device)
        inputs = torch.lerp(
            inputs.index_select(axis, low), inputs.index_select(axis, high),
            share)
    return inputs


def maps_in_tiles(size: Sequence[int], max_pixels: int, grid: int,
                  cut: Callable[[Span, Span], Tensor],
                  run: Callable[[Tensor], Tensor]) -> Tensor:
    """What a network makes of a large picture, tile by tile.

    Equal to one pass over the whole where no unit sees further than the
    margins of the tiles; for networks that look at everything, such as
    transformers, tiles pass smoothly into each other.

    Args:
        size (Sequence[int]): Height and width that the network sees.
        max_pixels (int): Of a tile.
        grid (int): A multiple of the network's stride, of which all tiles
            start at multiples.
        cut (Callable): From rows and columns to that part of the picture,
            (N, C, h, w).
        run (Callable): From it to maps (N, K, h / s, w / s) of one stride s,
            rounded up.

    Returns:
        Tensor: (N, K, H / s, W / s), float32, without graph.

    Raises:
        ValueError: If tiles are too small or ``grid`` does not fit.
    """
    spans = plan_tiles(size, max_pixels, grid)
    whole: Tensor | None = None
    for i, rows in enumerate(spans[0]):
        for j, columns in enumerate(spans[1]):
            maps = run(cut(rows, columns)).detach().float()
            if whole is None:
                down, across = (
                    _along(axis, cells, grid, maps)
                    for axis, cells in zip(spans, maps.shape[2:]))
                shape = [start[-1] + len(weights[-1])
                         for start, weights in (down, across)]
                whole = maps.new_zeros((*maps.shape[:2], *shape))
            weight = down[1][i][:, None] * across[1][j]
            top, left = down[0][i], across[0][j]
            if weight.shape != maps.shape[2:]:
                raise ValueError(
                    f'CAMs of a tile are {tuple(maps.shape[2:])}, not '
                    f'{tuple(weight.shape)}. Take test_cfg.max_pixels out '
                    'for this network.')
            whole[:, :, top:top + weight.shape[0],
                  left:left + weight.shape[1]] += weight * maps
    return whole


def _along(spans: Sequence[Span], cells: int, grid: int,
           like: Tensor) -> tuple[list[int], list[Tensor]]:
    """First cells and weights of tiles along an axis.

    ``cells`` are those of the first tile.
    """
    if len(spans) == 1:
        return [0], [like.new_ones(cells)]
    pixels = spans[0].stop
    stride = pixels // cells
    if pixels % cells or grid % stride:
        raise ValueError(
            f'CAMs of {cells} cells for {pixels} pixels do not fit '
            f'tiles that start at multiples of {grid}. Take '
            'test_cfg.max_pixels out for this network.')
    return [s.start // stride for s in spans
            ], [w.to(like) for w in blend(spans, stride)]
