"""Pairs of neighbouring pixels, as AffinityNet and IRNet enumerate them.

PSA (https://arxiv.org/abs/1803.10464, Sec. 3.1.2, Eq. 5) pairs every pixel
with those within a radius; IRNet (https://arxiv.org/abs/1904.05044, Sec. 4.2,
Eq. 4) additionally looks at all cells on the line between the two. Both take
each unordered pair once: a *source* pixel (y, x) and its *target*
(y + dy, x + dx) with an offset of the lower half-plane.

Sources are the pixels whose targets all lie on the map, so with
R = radius - 1 the rows 0..h-R-1 and the columns R..w-R-1. Pair arrays are
(offsets P, sources n), the sources in row-major order.
"""
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def pair_offsets(radius: int) -> np.ndarray:
    """Offsets from a source to its targets, in PSA's order.

    The row (0, 1), (0, 2), ... comes first, then each further row from left
    to right; all are closer than the radius.

    Args:
        radius (int): Radius in cells, exclusive.

    Returns:
        np.ndarray: (P, 2) int64 of (dy, dx). 34 for radius 5, 152 for 10.
    """
    return np.array([(y, x) for y in range(radius)
                     for x in range(1 - radius, radius)
                     if (y > 0 or x > 0) and y * y + x * x < radius * radius],
                    np.int64).reshape(-1, 2)


@lru_cache(maxsize=None)
def _cells(dy: int, dx: int) -> tuple[tuple[int, int], ...]:
    squared = dy * dy + dx * dx
    cells = [(y, x) for y in range(min(dy, 0),
                                   max(dy, 0) + 1)
             for x in range(min(dx, 0),
                            max(dx, 0) + 1)
             if squared == 0 or (dy * x - dx * y)**2 < squared]
    return tuple(sorted(cells, key=lambda c: -abs(c[0]) - abs(c[1])))


def path_cells(dy: int, dx: int) -> np.ndarray:
    """Cells on the line from (0, 0) to (dy, dx).

    These are the cells of the two points' bounding box that are less than one
    cell away from the line.

    Args:
        dy (int): Rows between the ends.
        dx (int): Columns between the ends.

    Returns:
        np.ndarray: (L, 2) int64 of (y, x) relative to the source; the target
        first, the source last.
    """
    return np.array(_cells(int(dy), int(dx)), np.int64)


def path_offsets(radius: int) -> np.ndarray:
    """The offsets of :func:`pair_offsets` in IRNet's order.

    They are grouped by the number of cells on their paths, short ones first.

    Args:
        radius (int): Radius in cells, exclusive.

    Returns:
        np.ndarray: (P, 2) int64 of (dy, dx).
    """
    offsets = pair_offsets(radius)
    lengths = [len(_cells(dy, dx)) for dy, dx in offsets.tolist()]
    return offsets[np.argsort(lengths, kind='stable')]


def from_slices(size: tuple[int, int], radius: int) -> tuple[slice, slice]:
    """Rows and columns of the source pixels.

    Args:
        size (tuple[int, int]): Height and width of the map in cells.
        radius (int): Radius in cells, exclusive.

    Returns:
        tuple[slice, slice]: Rows 0..h-R-1, columns R..w-R-1, R = radius - 1.

    Raises:
        ValueError: If no pixel has all its targets on the map.
    """
    h, w = size
    reach = radius - 1
    if h <= reach or w <= 2 * reach:
        raise ValueError(
            f'A map of {h}x{w} cells has no pixel pairs of radius {radius}: '
            f'that takes at least {reach + 1}x{2 * reach + 1}. Use larger '
            'images or a smaller radius.')
    return slice(0, h - reach), slice(reach, w - reach)


def _shifted(x: Tensor, rows: slice, cols: slice, dy: int, dx: int) -> Tensor:
    """View of the cells that lie (dy, dx) from the sources."""
    return x[..., rows.start + dy:rows.stop + dy, cols.start + dx:cols.stop +
             dx]


class _Targets(torch.autograd.Function):
    """Copies of the targets; the backward adds them up in place.

    Plain slicing would make autograd allocate one full map per offset.
    """

    @staticmethod
    def forward(ctx, maps, offsets, rows, cols):
        ctx.geometry = maps.shape, offsets, rows, cols
        return torch.stack(
            [_shifted(maps, rows, cols, dy, dx) for dy, dx in offsets], dim=2)

    @staticmethod
    def backward(ctx, grad):
        shape, offsets, rows, cols = ctx.geometry
        total = grad.new_zeros(shape)
        for p, (dy, dx) in enumerate(offsets):
            _shifted(total, rows, cols, dy, dx).add_(grad[:, :, p])
        return total, None, None, None


def pair_values(maps: Tensor, offsets: np.ndarray,
                radius: int) -> tuple[Tensor, Tensor]:
    """Values at both ends of all pairs.

    Args:
        maps (Tensor): (N, C, h, w) of any type.
        offsets (np.ndarray): (P, 2) of (dy, dx) within the radius.
        radius (int): Radius in cells, exclusive; it decides the sources.

    Returns:
        tuple[Tensor, Tensor]: Of the sources, (N, C, 1, n), and of the
        targets, (N, C, P, n). Gradients pass.

    Raises:
        ValueError: If the map is too small for the radius.
    """
    rows, cols = from_slices(maps.shape[-2:], radius)
    source = maps[..., rows, cols].flatten(2).unsqueeze(2)
    target = _Targets.apply(maps, np.asarray(offsets).tolist(), rows, cols)
    return source, target.flatten(3)


def pair_labels(
        label: Tensor,
        radius: int,
        offsets: np.ndarray,
        num_classes: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Which pairs share a class (PSA, Sec. 3.1.2; IRNet, Sec. 4.2).

    Pairs with an end that has no valid label belong to none of the three
    sets.

    Args:
        label (Tensor): (N, h, w) integer label map, 0 for background.
        radius (int): Radius in cells, exclusive.
        offsets (np.ndarray): (P, 2) of (dy, dx).
        num_classes (int, optional): Labels below it are valid. Defaults to
            None: those below 255.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Boolean (N, P, n): both background,
        both the same foreground class, different classes.

    Raises:
        ValueError: If the map is too small for the radius.
    """
    source, target = (
        x[:, 0] for x in pair_values(label[:, None], offsets, radius))
    limit = 255 if num_classes is None else num_classes
    valid = (source < limit) & (target < limit)
    same = (source == target) & valid
    return same & (source == 0), same & (source != 0), ~same & valid


class _PathMax(torch.autograd.Function):
    """Largest value on every path; the gradient goes to the first such cell.

    Running maxima over shifted maps: nothing of the size (paths x cells) is
    ever stored, only which cell won, in one byte per pair.
    """

    @staticmethod
    def forward(ctx, edge, paths, rows, cols):
        n, h, w = edge.shape
        reach = cols.start
        # Whole rows, so that shifts are plain offsets into memory. What wraps
        # around at their ends is cut off: sources keep that distance.
        flat = F.pad(edge.flatten(1), (reach, reach))
        length = rows.stop * w
        shape = (n, len(paths), rows.stop, cols.stop - cols.start)
        best = edge.new_empty(shape)
        needed = ctx.needs_input_grad[0]
        if needed:
            winner = torch.empty(shape, dtype=torch.uint8, device=edge.device)
        for p, path in enumerate(paths):
            starts = [reach + y * w + x for y, x in path]
            top = flat[:, starts[0]:starts[0] + length].clone()
            first = torch.zeros_like(top, dtype=torch.uint8)
            for i, start in enumerate(starts[1:], 1):
                other = flat[:, start:start + length]
                if needed:
                    # Later winners have larger numbers.
                    won = (other > top).view(torch.uint8)
                    torch.maximum(first, won.mul_(i), out=first)
                torch.maximum(top, other, out=top)
            best[:, p] = top.view(n, -1, w)[..., cols]
            if needed:
                winner[:, p] = first.view(n, -1, w)[..., cols]
        if needed:
            ctx.save_for_backward(winner)
            ctx.geometry = edge.shape, paths, rows, cols
        return best.flatten(2)

    @staticmethod
    def backward(ctx, grad):
        winner, = ctx.saved_tensors
        shape, paths, rows, cols = ctx.geometry
        n, _, w = shape
        grad = grad.unflatten(2, winner.shape[2:])
        total = grad.new_zeros(shape)
        index = torch.arange(
            shape[1] * w, device=grad.device).view(1, *shape[1:])
        index = index[:, rows, cols]
        for p, path in enumerate(paths):
            steps = torch.tensor([y * w + x for y, x in path],
                                 device=grad.device)
            cell = index + steps[winner[:, p].long()]
            total.view(n, -1).scatter_add_(1, cell.flatten(1),
                                           grad[:, p].flatten(1))
        return total, None, None, None


def path_affinity(edge: Tensor, radius: int) -> Tensor:
    """Affinity of pairs: no edge may lie between them (IRNet, Eq. 4).

    ``1 - max`` of the edge probabilities over the cells of the path, both
    ends included.

    Args:
        edge (Tensor): (N, 1, h, w) edge probabilities.
        radius (int): Radius in cells, exclusive.

    Returns:
        Tensor: (N, P, n), offsets in the order of :func:`path_offsets`.
        Gradients pass, to the first of equal maxima.

    Raises:
        ValueError: If the map is too small for the radius.
    """
    rows, cols = from_slices(edge.shape[-2:], radius)
    paths = [_cells(dy, dx) for dy, dx in path_offsets(radius).tolist()]
    return 1 - _PathMax.apply(edge[:, 0], paths, rows, cols)


def scatter_pairs(values: Tensor, size: tuple[int, int], radius: int,
                  offsets: np.ndarray) -> Tensor:
    """Lay pair values out on the map of their sources.

    Args:
        values (Tensor): (N, P, n), one per pair.
        size (tuple[int, int]): Height and width of the map in cells.
        radius (int): Radius in cells, exclusive.
        offsets (np.ndarray): (P, 2) of (dy, dx), to check the number of rows.

    Returns:
        Tensor: (N, P, h, w); zero where no pair begins.

    Raises:
        ValueError: If the map is too small for the radius, or the values do
            not fit the offsets.
    """
    rows, cols = from_slices(size, radius)
    if values.shape[1] != len(offsets):
        raise ValueError(f'{values.shape[1]} rows of pair values for '
                         f'{len(offsets)} offsets.')
    out = values.new_zeros((*values.shape[:2], *size))
    out[:, :, rows, cols] = values.unflatten(
        2, (rows.stop - rows.start, cols.stop - cols.start))
    return out
