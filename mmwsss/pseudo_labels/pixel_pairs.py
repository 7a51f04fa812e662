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
from functools import cache, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Entries of maps that are worked on at a time: what fits into a CPU's cache,
# and what keeps a GPU busy with few launches.
CPU_BLOCK = 2**15
GPU_BLOCK = 2**26


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


@cache
def path_cells(dy: int, dx: int) -> tuple[tuple[int, int], ...]:
    """Cells on the line from (0, 0) to (dy, dx).

    These are the cells of the two points' bounding box that are less than one
    cell away from the line.

    Args:
        dy (int): Rows between the ends.
        dx (int): Columns between the ends.

    Returns:
        tuple[tuple[int, int], ...]: (y, x) of the cells relative to the
        source; the target first, the source last.
    """
    squared = dy * dy + dx * dx
    cells = [(y, x) for y in range(min(dy, 0),
                                   max(dy, 0) + 1)
             for x in range(min(dx, 0),
                            max(dx, 0) + 1)
             if squared == 0 or (dy * x - dx * y)**2 < squared]
    return tuple(sorted(cells, key=lambda c: -abs(c[0]) - abs(c[1])))


def path_offsets(radius: int) -> np.ndarray:
    """The offsets of :func:`pair_offsets` in IRNet's order.

    They are grouped by the number of cells on their paths, short ones first.

    Args:
        radius (int): Radius in cells, exclusive.

    Returns:
        np.ndarray: (P, 2) int64 of (dy, dx).
    """
    offsets = pair_offsets(radius)
    lengths = [len(path_cells(dy, dx)) for dy, dx in offsets.tolist()]
    return offsets[np.argsort(lengths, kind='stable')]


@lru_cache(maxsize=16)
def offsets_on(radius: int, device: torch.device) -> Tensor:
    """The offsets of :func:`path_offsets` on a device, made once.

    Args:
        radius (int): Radius in cells, exclusive.
        device (torch.device): Where they are needed.

    Returns:
        Tensor: int64 (P, 2) of (dy, dx), not to be changed.
    """
    # A tensor of inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(path_offsets(radius).tolist(), device=device)


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
        if grad.device.type != 'cpu':
            return _add_up_windows(grad, shape, offsets, cols.start), \
                None, None, None
        total = grad.new_zeros(shape)
        for p, (dy, dx) in enumerate(offsets):
            _shifted(total, rows, cols, dy, dx).add_(grad[:, :, p])
        return total, None, None, None


def _add_up_windows(grad: Tensor, shape: tuple[int, ...],
                    offsets: list[list[int]], reach: int) -> Tensor:
    """The backward of :class:`_Targets` in three launches.

    A CPU takes ten times as long for it as for adding up the offsets in turn.
    """
    n, c, h, w = shape
    window = (reach + 1, 2 * reach + 1)
    places = _window_places(tuple(map(tuple, offsets)), reach, grad.device)
    planes = grad.new_zeros((n, c, window[0] * window[1], *grad.shape[3:]))
    planes.index_copy_(2, places, grad)
    return F.fold(planes.flatten(3).flatten(1, 2), (h, w), window)


@lru_cache(maxsize=16)
def _window_places(offsets: tuple[tuple[int, int], ...], reach: int,
                   device: torch.device) -> Tensor:
    """Where offsets lie in the window around their source, int64 (P,)."""
    with torch.inference_mode(False):
        return torch.tensor(
            [dy * (2 * reach + 1) + dx + reach for dy, dx in offsets],
            device=device)


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


@cache
def _paths(radius: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Cells of the paths of :func:`path_offsets`, short paths first."""
    return tuple(
        path_cells(dy, dx) for dy, dx in path_offsets(radius).tolist())


@lru_cache(maxsize=16)
def _path_steps(radius: int, width: int, device: torch.device) -> Tensor:
    """The paths as distances in the memory of a map of that width.

    Returns:
        Tensor: int64 (P, L), L the length of the longest; shorter ones are
        filled up with 0.
    """
    steps = [[y * width + x for y, x in path] for path in _paths(radius)]
    longest = max(map(len, steps))
    # A tensor of inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor([s + [0] * (longest - len(s)) for s in steps],
                            device=device)


def _blocks(count: int, entries: int,
            device: torch.device) -> list[tuple[int, int]]:
    """Split ``count`` paths of so many entries each into ranges."""
    limit = CPU_BLOCK if device.type == 'cpu' else GPU_BLOCK
    step = max(limit // max(entries, 1), 1)
    return [(i, min(i + step, count)) for i in range(0, count, step)]


class _PathMax(torch.autograd.Function):
    """Largest value on every path; the gradient goes to the first such cell.

    Running maxima over shifted maps, of many paths at a time: nothing of the
    size (paths x cells of a path) is ever stored, only which cell won, in one
    byte per pair.
    """

    @staticmethod
    def forward(ctx, edge, radius, rows, cols):
        n, h, w = edge.shape
        reach, paths = cols.start, _paths(radius)
        # Whole rows, so that shifts are plain offsets into memory. What wraps
        # around at their ends is cut off: sources keep that distance.
        flat = F.pad(edge.flatten(1), (reach, reach))
        length = rows.stop * w
        shape = (n, len(paths), rows.stop, cols.stop - cols.start)
        best = edge.new_empty(shape)
        needed = ctx.needs_input_grad[0]
        if needed:
            winner = torch.empty(shape, dtype=torch.uint8, device=edge.device)

        starts = [[reach + y * w + x for y, x in path] for path in paths]
        flat = flat[:, None]

        def cells(i, some):
            """The i-th cell of some paths, (n, len(some), length)."""
            views = [flat[..., s[i]:s[i] + length] for s in some]
            return views[0] if len(views) == 1 else torch.cat(views, dim=1)

        for low, high in _blocks(len(paths), n * length, edge.device):
            block = starts[low:high]
            top = cells(0, block)
            if len(block) == 1:
                top = top.clone()
            running, rest = top, block
            if needed:
                first = torch.zeros_like(top, dtype=torch.uint8)
                so_far = first
            for i in range(1, len(block[-1])):
                ended = sum(len(s) == i for s in rest)
                if ended:
                    # The others are longer.
                    rest, running = rest[ended:], running[:, ended:]
                    so_far = so_far[:, ended:] if needed else None
                other = cells(i, rest)
                if needed:
                    # Later winners have larger numbers.
                    won = (other > running).view(torch.uint8)
                    torch.maximum(so_far, won.mul_(i), out=so_far)
                torch.maximum(running, other, out=running)
            best[:, low:high] = top.unflatten(2, (-1, w))[..., cols]
            if needed:
                winner[:, low:high] = first.unflatten(2, (-1, w))[..., cols]
        if needed:
            ctx.save_for_backward(winner)
            ctx.geometry = edge.shape, radius, rows, cols
        return best.flatten(2)

    @staticmethod
    def backward(ctx, grad):
        winner, = ctx.saved_tensors
        shape, radius, rows, cols = ctx.geometry
        n, h, w = shape
        total = grad.new_zeros((n, h * w))
        index = torch.arange(h * w, device=grad.device).view(h, w)
        index = index[rows, cols].flatten()
        steps = _path_steps(radius, w, grad.device)
        for low, high in _blocks(len(steps), n * len(index), grad.device):
            # (n, block, cells of the map)
            cell = steps[low:high].expand(n, -1, -1).gather(
                2, winner[:, low:high].flatten(2).long()).add_(index)
            total.scatter_add_(1, cell.flatten(1),
                               grad[:, low:high].flatten(1))
        return total.view(shape), None, None, None


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
    return 1 - _PathMax.apply(edge[:, 0], radius, rows, cols)


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
