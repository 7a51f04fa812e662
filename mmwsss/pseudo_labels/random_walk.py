"""Random walk of CAMs over learned affinities, in linear memory.

AffinityNet (https://arxiv.org/abs/1803.10464, Sec. 3.3, Eqs. 9-12) and IRNet
(https://arxiv.org/abs/1904.05044, Sec. 4.4, Eqs. 7-9) diffuse CAMs by a
power of a transition matrix. Their codes build this matrix densely, (pixels x
pixels), and square it. Only the diffused maps are of interest, however, and
the matrix has at most 2 P + 1 entries per row, so here it is applied to them.

Nor does it take one product per step. With symmetric affinities the
transition matrix is similar to a symmetric one, its eigenvalues lie in
[-1, 1], and there

    x^t = sum_j c_j T_j(x),   c_j = 2^(1-t) binom(t, (t-j)/2),  t - j even

(half of it for j = 0). The weights of the Chebyshev polynomials T_j fall off
like exp(-j^2 / 2t): about sqrt(2 t ln(2 / eps)) of them give the power up to
eps, 90 products instead of 256.
"""
import math
import warnings
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .pixel_pairs import path_affinity, path_offsets

# Sum of the weights that may be left out.
CUT = 1e-8


@cache
def chebyshev_weights(power: int) -> tuple[float, ...]:
    """Weights of T_0, T_1, ... in x^power, without the negligible last ones.

    Args:
        power (int): Exponent, at least 0.

    Returns:
        tuple[float]: They sum to 1, so constants are kept.
    """
    weights = [0.0] * (power + 1)
    for j in range(power, -1, -2):
        weights[j] = 2 * math.comb(power, (power - j) // 2) / 2**power
    if power % 2 == 0:
        weights[0] /= 2
    tail, last = 0.0, power
    while tail + weights[last] < CUT:
        tail += weights[last]
        last -= 1
    weights = weights[:last + 1]
    total = math.fsum(weights)
    return tuple(x / total for x in weights)


def _transition_matrix(affinity: Tensor, offsets: np.ndarray,
                       beta: float) -> Tensor:
    """Means over a pixel and its neighbours, as a sparse matrix.

    Args:
        affinity (Tensor): (N, P, h, w).
        offsets (np.ndarray): (P, 2) of (dy, dx).
        beta (float): Exponent.

    Returns:
        Tensor: (N * h * w, N * h * w) float64 in CSR layout; the images are
        blocks of it. Rows sum to one.
    """
    n, _, h, w = affinity.shape
    affinity = affinity.double()**beta
    size = n * h * w
    pixel = torch.arange(size, device=affinity.device)
    # Rows of a CSR matrix are read fastest when their columns ascend.
    pairs = np.asarray(offsets).tolist()
    order = sorted([(0, 0, -1)] +
                   [(dy, dx, p) for p, (dy, dx) in enumerate(pairs)] +
                   [(-dy, -dx, p) for p, (dy, dx) in enumerate(pairs)])
    weight = affinity.new_zeros((len(order), n, h, w))
    for row, (dy, dx, p) in zip(weight, order, strict=True):
        # Without this, offsets beyond a small map would count from its end.
        if abs(dy) >= h or abs(dx) >= w:
            continue
        source = (slice(None), slice(max(-dy, 0), h - max(dy, 0)),
                  slice(max(-dx, 0), w - max(dx, 0)))
        target = (slice(None), slice(max(dy, 0), h + min(dy, 0)),
                  slice(max(dx, 0), w + min(dx, 0)))
        if p < 0:
            row.fill_(1)
        elif (dy, dx) == tuple(pairs[p]):
            row[source] = affinity[:, p][source]
        else:
            row[source] = affinity[:, p][target]
    weight = (weight / weight.sum(dim=0)).flatten(1).t()
    steps = torch.tensor([dy * w + dx for dy, dx, _ in order],
                         device=pixel.device)
    used = weight != 0
    starts = F.pad(used.sum(dim=1).cumsum(0), (1, 0))
    columns = (pixel[:, None] + steps)[used]
    kind = torch.int32 if used.numel() < 2**31 else torch.int64
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support')
        return torch.sparse_csr_tensor(
            starts.to(kind),
            columns.to(kind),
            weight[used], (size, size),
            check_invariants=False)


@torch.no_grad()
def random_walk(planes: Tensor, affinity: Tensor, offsets: np.ndarray,
                beta: float, num_steps: int) -> Tensor:
    """Diffuse CAMs: ``v * M^t``, M the column-normalised affinities.

    AffinityNet, Eqs. 10-12. One step replaces every pixel by the mean of
    itself (weight 1) and its neighbours (weight affinity^beta). Memory is
    proportional to the number of pixels. It is computed in float64 (rounding
    adds up over the steps, and neither autocast nor TF32 touch it), without
    gradients.

    Args:
        planes (Tensor): (N, k, h, w) maps, k may be 0.
        affinity (Tensor): (N, P, h, w) within [0, 1]. Entry [p, y, x] belongs
            to (y, x) and (y, x) + offsets[p]; 0 where there is no such pair.
        offsets (np.ndarray): (P, 2) of (dy, dx).
        beta (float): Exponent of the affinities, above 0.
        num_steps (int): Steps t, usually ``2 ** log_steps``.

    Returns:
        Tensor: (N, k, h, w); float64 if the planes are, else float32.

    Raises:
        ValueError: If the shapes do not fit or beta is not positive.
    """
    n, k, h, w = planes.shape
    if affinity.shape != (n, len(offsets), h, w):
        raise ValueError(
            f'{len(offsets)} offsets and maps of {tuple(planes.shape)} need '
            f'affinities of {(n, len(offsets), h, w)}, got '
            f'{tuple(affinity.shape)}.')
    if not beta > 0:
        raise ValueError('beta must be above 0 (pairs that do not exist have '
                         f'affinity 0), got {beta}.')
    kind = torch.float64 if planes.dtype == torch.float64 else torch.float32
    if planes.numel() == 0 or num_steps == 0:
        return planes.to(kind)

    matrix = _transition_matrix(affinity, offsets, beta)
    before = planes.double().permute(0, 2, 3, 1).reshape(-1, k)
    now = matrix @ before
    weights = chebyshev_weights(num_steps)
    out = weights[0] * before + weights[1] * now
    for weight in weights[2:]:
        # T_{j+1}(x) = 2 x T_j(x) - T_{j-1}(x)
        before, now = now, (matrix @ now).mul_(2).sub_(before)
        if weight:
            out.add_(now, alpha=weight)
    out = out.view(n, h, w, k).permute(0, 3, 1, 2)
    # Means stay between the extremes; rounding should not leave them either.
    low, high = planes.amin((2, 3), True), planes.amax((2, 3), True)
    return out.to(kind).clamp(low, high).contiguous()


def edge_affinity(edge: Tensor, radius: int) -> Tensor:
    """IRNet's affinities of all pairs on a map.

    The map is padded with edges for the sake of pairs near its border: every
    pixel is a source then (AffinityNet has none in the last rows and outer
    columns).

    Args:
        edge (Tensor): (N, 1, h, w) edge probabilities.
        radius (int): Radius in cells, exclusive.

    Returns:
        Tensor: (N, P, h, w), offsets in the order of ``path_offsets``.
    """
    h, w = edge.shape[-2:]
    padded = F.pad(edge, (radius, radius, 0, radius), value=1.0)
    pairs = path_affinity(padded, radius)
    # Sources are one row and two columns more than the map.
    return pairs.unflatten(2, (h + 1, w + 2))[:, :, :h, 1:w + 1]


@torch.no_grad()
def walk_scores_psa(cams: Tensor,
                    affinity: Tensor,
                    offsets: np.ndarray,
                    alpha: float = 16,
                    beta: float = 8,
                    log_steps: int = 8,
                    stride: int = 8) -> Tensor:
    """Class scores of one image after AffinityNet's random walk (Sec. 3.3).

    Absent classes would be planes of zeros and stay so; they are left out.

    Args:
        cams (Tensor): (k, H, W) CAMs of the present classes in [0, 1].
        affinity (Tensor): (P, h, w) with h = ceil(H / stride), w likewise;
            see :func:`random_walk`.
        offsets (np.ndarray): (P, 2) of (dy, dx).
        alpha (float): Exponent of the background, (1 - max of cams)^alpha.
            Defaults to 16.
        beta (float): Exponent of the affinities. Defaults to 8.
        log_steps (int): The walk has 2^log_steps steps. Defaults to 8.
        stride (int): Pixels per cell. Defaults to 8.

    Returns:
        Tensor: (k + 1, H, W) scores, background first.
    """
    size = cams.shape[1:]
    background = 1 - torch.cat([cams.new_zeros((1, *size)), cams]).amax(0)
    planes = torch.cat([background[None]**alpha, cams])
    pad = [-n % stride for n in size]
    planes = F.pad(planes, (0, pad[1], 0, pad[0]))
    planes = F.avg_pool2d(planes[None], stride)
    walked = random_walk(planes, affinity[None], offsets, beta, 2**log_steps)
    return _upsample(walked, stride, size)


@torch.no_grad()
def walk_scores_irn(cams: Tensor,
                    edge: Tensor,
                    size: tuple[int, int],
                    radius: int = 5,
                    beta: float = 10,
                    log_steps: int = 8,
                    stride: int = 4) -> Tensor:
    """Class scores of one image after IRNet's random walk (Sec. 4.4).

    Args:
        cams (Tensor): (k, h, w) CAMs of the present classes, k may be 0.
        edge (Tensor): (h, w) edge probabilities.
        size (tuple[int, int]): Height and width of the image in pixels.
        radius (int): Radius of the pairs in cells, exclusive. Defaults to 5.
        beta (float): Exponent of the affinities. Defaults to 10.
        log_steps (int): The walk has 2^log_steps steps. Defaults to 8.
        stride (int): Pixels per cell. Defaults to 4.

    Returns:
        Tensor: (k, H, W) foreground scores, divided by the largest of all;
        zeros if there is none above zero.
    """
    if not len(cams):
        return cams.new_zeros((0, *size))
    affinity = edge_affinity(edge[None, None], radius)
    walked = random_walk((cams * (1 - edge))[None], affinity,
                         path_offsets(radius), beta, 2**log_steps)
    scores = _upsample(walked, stride, size)
    top = scores.amax()
    return scores / top if top > 0 else scores


def _upsample(planes: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """(1, k, h, w) cells to (k, H, W) pixels, bilinearly."""
    planes = F.interpolate(
        planes, scale_factor=stride, mode='bilinear', align_corners=False)
    return planes[0, :, :size[0], :size[1]]
