"""Gaussian filtering of many-dimensional points, and a dense CRF on it.

The permutohedral lattice (Adams, Baek and Davis, "Fast High-Dimensional
Filtering Using the Permutohedral Lattice", Eurographics 2010): values are
spread onto the corners of the simplex that holds their point (splat), blurred
along each lattice axis with weights 1/2, 1, 1/2, and read back (slice). Where
the published code walks a hash table point by point, corners are numbered here
by sorting, so that each step is one call for all points and labels.
"""
import itertools
import math
import operator
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.utils.transfer import send


def _embed(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the lattice simplex around each point.

    Lattice points have d+1 integer coordinates that sum to zero and are equal
    modulo d+1. A simplex has one corner per remainder r: corner 0 plus r in
    all coordinates, less d+1 in the r coordinates where the point exceeds
    corner 0 least.

    Args:
        features (Tensor): float64 (n, d), in units of standard deviations.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Corner 0, int64 (n, d+1); the
        coordinates by falling excess of the point, int64 (n, d+1); the
        barycentric weights of the point, float64 (n, d+1).
    """
    d = features.shape[1]
    # Onto the plane of coordinate sum zero, at a scale at which splatting,
    # blurring and slicing have unit variance together (section 3.1):
    # coordinate i gets all later features, less i times its own.
    # Plain numbers: torch.compile would make arrays of numpy float32.
    basis = torch.tensor(
        [[(d + 1) * math.sqrt(2 / 3 / (i * (i + 1))) *
          (1 if j < i else -i if j == i else 0) for j in range(d + 1)]
         for i in range(1, d + 1)],
        dtype=features.dtype)
    point = features @ send(basis, features.device)

    # The nearest multiples of d+1 need not sum to zero. If they exceed it by
    # k times d+1, the k coordinates rounded up most are rounded down.
    corner = (point / (d + 1)).round() * (d + 1)
    excess = (corner.sum(1, keepdim=True) / (d + 1)).round().long()
    rest, order = (point - corner).sort(dim=1, descending=True)
    # Those changed go to the other end of the order.
    first = torch.arange(d + 1, device=features.device) + excess
    place = first % (d + 1)
    change = (place - first).to(corner.dtype)
    corner.scatter_add_(1, order, change)
    rest = rest - change
    order = torch.empty_like(order).scatter_(1, place, order)
    rest = torch.empty_like(rest).scatter_(1, place, rest) / (d + 1)
    steps = (rest[:, :-1] - rest[:, 1:]).flip(1)
    return corner.long(), order, torch.cat(
        [1 - steps.sum(1, keepdim=True), steps], dim=1)


class PermutohedralLattice:
    """A Gaussian filter between points.

    Args:
        features (Tensor): (n, d) positions in units of standard deviations.
        num_images (int): Of how many images of n / num_images points these
            are, one after the other; each has a lattice of its own.
            Defaults to 1.

    Raises:
        ValueError: If the points lie so far apart that the lattice cannot be
            numbered.
    """

    def __init__(self, features: Tensor, num_images: int = 1) -> None:
        corner, order, weights = _embed(features.double())
        n, size = corner.shape
        d = size - 1
        # One number per lattice point, linear in all but its last coordinate,
        # with room for the neighbours of all corners.
        least, most = torch.stack(corner[:, :d].aminmax(dim=0)).tolist()
        low = [c - 2 * size for c in least]
        extent = [b - a + 2 * size + 1 for a, b in zip(low, most)]
        strides = list(itertools.accumulate([1, *extent], operator.mul))
        cells = strides.pop()
        if cells * num_images >= 2**63:
            raise ValueError(
                f'The lattice spans {extent} cells, too many to number. Use '
                'larger standard deviations.')
        strides.append(0)
        total = sum(strides)
        # What a step along each axis, forth and back, adds to a number.
        steps = [size * s - total for s in strides]
        low, strides, higher, forth, back = send(
            torch.tensor([[*low, 0], strides, [r * total for r in range(size)],
                          steps, [-s for s in steps]]), corner.device)
        codes = F.pad(-size * strides[order[:, 1:].flip(1)].cumsum(1), (1, 0))
        codes += higher
        codes += ((corner - low) * strides).sum(1, keepdim=True)
        if num_images > 1:
            image = torch.arange(num_images, device=codes.device)
            codes.view(num_images, -1).add_(image[:, None], alpha=cells)
        codes, order = codes.flatten().sort()
        codes, point, count = codes.unique_consecutive(
            return_inverse=True, return_counts=True)
        self.num_corners = len(codes)
        self.index = torch.empty_like(point).scatter_(0, order,
                                                      point).view(n, size)
        self.weights = weights.float()
        # The same entries ordered by corner: the transposed matrix.
        self.source = order // size
        self.source_weights = self.weights.flatten()[order]
        # One more corner, `num_corners`, that is nothing.
        self.starts = F.pad(count.cumsum(0), (1, 0))
        # The two neighbours of each corner along each axis, side by side.
        wanted = codes[:, None] + torch.stack((forth, back), dim=1)[:, None]
        at = torch.searchsorted(codes, wanted).clamp_(max=self.num_corners - 1)
        self.neighbours = torch.where(codes[at] == wanted, at,
                                      self.num_corners).flatten(1)
        self.pair_starts = torch.arange(
            0, 2 * self.num_corners, 2, device=codes.device)

    def normalize(self) -> None:
        """Divide the kernel k(i, j) by sqrt(sum_j k(i, j) sum_i k(i, j))."""
        total = self.filter(self.weights.new_ones(len(self.weights), 1))
        scale = (total + 1e-20).rsqrt()
        self.weights = self.weights * scale
        self.source_weights = self.source_weights * scale[self.source, 0]

    def filter(self, values: Tensor) -> Tensor:
        """Sum the values of all points, weighted by a Gaussian.

        Args:
            values (Tensor): float32 (n, c).

        Returns:
            Tensor: float32 (n, c); the weight of the point itself is about
            1, depending on where in its simplex it lies.
        """
        blurred = F.embedding_bag(
            self.source,
            values,
            self.starts,
            mode='sum',
            per_sample_weights=self.source_weights)
        for pairs in self.neighbours:
            near = F.embedding_bag(
                pairs, blurred, self.pair_starts, mode='sum')
            blurred[:-1].add_(near, alpha=0.5)
        read = F.embedding_bag(
            self.index,
            blurred,
            mode='sum',
            per_sample_weights=self.weights)
        d = self.index.shape[1] - 1
        return read / (1 + 2**-d)


class PermutohedralCRF:
    """The dense CRF of one image: two lattices and Potts weights.

    Kernels are normalised symmetrically, as in the published code of
    Kraehenbuehl and Koltun.

    Args:
        image (np.ndarray): uint8 (H, W, 3).
        gaussian_sxy (float): See :class:`DenseCRF`, as all the others.
        gaussian_compat (float): Potts weight.
        bilateral_sxy (float): In pixels.
        bilateral_srgb (float): In grey levels.
        bilateral_compat (float): Potts weight.
    """

    def __init__(self, image: np.ndarray, gaussian_sxy: float,
                 gaussian_compat: float, bilateral_sxy: float,
                 bilateral_srgb: float, bilateral_compat: float) -> None:
        height, width = image.shape[:2]
        y, x = np.mgrid[:height, :width].reshape(2, -1)
        place = torch.from_numpy(np.stack([x, y], axis=1)).double()
        colour = torch.from_numpy(image).reshape(-1, 3).double()
        self.kernels = []
        for features, compat in (
            (place / gaussian_sxy, gaussian_compat),
            (torch.cat([place / bilateral_sxy, colour / bilateral_srgb],
                       dim=1), bilateral_compat)):
            lattice = PermutohedralLattice(features)
            lattice.normalize()
            self.kernels.append((lattice, compat))

    @torch.no_grad()
    def infer(self, unaries: Sequence[np.ndarray],
              num_iters: int) -> list[np.ndarray]:
        """Mean-field inference for several sets of energies at once.

        Args:
            unaries (Sequence[np.ndarray]): Energies float32 (L, H, W) each;
                L may differ.
            num_iters (int): Steps.

        Returns:
            list[np.ndarray]: Distributions float32 (L, H, W).
        """
        lengths = [len(u) for u in unaries]
        # Labels first: a softmax over few adjacent numbers is slow.
        logits = -torch.from_numpy(
            np.concatenate([u.reshape(len(u), -1) for u in unaries]))

        def distribution(x: Tensor) -> Tensor:
            return torch.cat([p.softmax(0) for p in x.split(lengths)])

        q = distribution(logits)
        for _ in range(num_iters):
            x, values = logits.clone(), q.T.contiguous()
            for lattice, compat in self.kernels:
                x.add_(lattice.filter(values).T, alpha=compat)
            q = distribution(x)
        return [
            p.reshape(u.shape).numpy()
            for p, u in zip(q.split(lengths), unaries)
        ]
