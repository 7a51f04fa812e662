"""k-means of many images at once, on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor

#: Candidates for each first centroid. Scikit-learn draws 4 for 8 clusters and
#: keeps the best of some whole runs; with 16 one run is as good as its ten
#: (benchmarks/bench_kmeans.py).
NUM_CANDIDATES = 16


def relative_distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances less the square of the point, as that is common.

    Args:
        points (Tensor): (N, P, D).
        centroids (Tensor): (N, K, D).

    Returns:
        Tensor: (N, P, K).
    """
    return torch.baddbmm(
        centroids.square().sum(dim=2)[:, None], points, centroids.mT, alpha=-2)


def assign_points(points: Tensor, centroids: Tensor) -> Tensor:
    """Nearest centroid of every point.

    Args:
        points (Tensor): (N, P, D).
        centroids (Tensor): (N, K, D).

    Returns:
        Tensor: int64 (N, P), the lowest index of equally near ones.
    """
    return relative_distances(points, centroids).argmin(dim=2)


def initial_centroids(points: Tensor,
                      mask: Tensor,
                      uniforms: Tensor) -> Tensor:
    """First centroids as by greedy k-means++ (Arthur & Vassilvitskii, 2007).

    Of each centroid C candidates are drawn, of the first any points, of
    further ones points with a probability in proportion to the squared
    distance from the nearest centroid so far; where all of these are zero,
    any points again. The candidate that leaves the smallest sum of squared
    distances is taken. With C = 1 this is plain k-means++.

    Args:
        points (Tensor): (N, P, D).
        mask (Tensor): bool (N, P), which rows are points.
        uniforms (Tensor): Random numbers in [0, 1), (N, K, C), one per draw.

    Returns:
        Tensor: (N, K, D). Of an image without points, row 0.
    """
    n, num_points, _ = points.shape
    squares = points.square().sum(dim=2)
    # Relative distances of points at their own place.
    least = -squares[..., None]
    inside = mask.to(points.dtype)[:, None]
    # float64 sums of a few numbers per point: in float32 a CPU and a GPU would
    # now and then draw another point. Row 0 stands for no point at all.
    nobody = F.pad(~mask.any(dim=1, keepdim=True), (0, num_points - 1))
    mask = (mask | nobody).double()
    bounds = mask.cumsum(dim=1)
    # What points count where all distances are zero, else nothing: the
    # smallest share of a total is above it, the largest below the total.
    trace = 1e-200 * mask
    uniforms = uniforms.double().clamp(min=2**-40, max=1 - 2**-24)
    images = torch.arange(n, device=points.device)[:, None]
    nearest, drawn = squares.new_full((n, num_points, 1), float('inf')), []
    for k in range(uniforms.shape[1]):
        if k:
            weights = (nearest - least)[..., 0].double()
            bounds = torch.addcmul(trace, weights, mask).cumsum(dim=1)
        index = torch.searchsorted(
            bounds, uniforms[:, k] * bounds[:, -1:], right=True)
        distances = torch.baddbmm(
            squares[images, index][:, None],
            points,
            points[images, index].mT,
            alpha=-2).clamp(
                min=least, max=nearest)
        best = (inside @ distances).argmin(dim=2)
        drawn.append(index.gather(1, best))
        nearest = distances.take_along_dim(best[:, None], dim=2)
    return points[images, torch.cat(drawn, dim=1)]


def kmeans(points: Tensor,
           mask: Tensor,
           init: Tensor,
           max_steps: int = 10,
           tol: float = 1e-4) -> Tensor:
    """Lloyd's algorithm on every image of a batch.

    A point belongs to its nearest centroid (:func:`assign_points`), which
    moves to the mean of its points; one without points stays. An image rests
    once its centroids moved no further, in squares summed up, than ``tol``
    times the variance of its points, so it does not matter which images it
    shares a batch with. No order of additions varies, so the same input gives
    the same result on the same device.

    Args:
        points (Tensor): (N, P, D), without gradient.
        mask (Tensor): bool (N, P), which rows are points.
        init (Tensor): First centroids (N, K, D).
        max_steps (int): Lloyd steps at most. Defaults to 10.
        tol (float): See above; the variance is averaged over the D
            coordinates, as scikit-learn does. Defaults to 1e-4.

    Returns:
        Tensor: Centroids (N, K, D).
    """
    weights = mask.to(points.dtype)[..., None]
    size = weights.sum(dim=(1, 2)).clamp(min=1)
    centre = (weights.mT @ points)[:, 0] / size[:, None]
    # Mean square less squared mean: one pass over the points. Rounding is of
    # no matter, it only says when to stop.
    squares = (points.square().sum(dim=2) * weights[..., 0]).sum(dim=1) / size
    variance = (squares - centre.square().sum(dim=1)).clamp(
        min=0) / points.shape[2]
    still = (tol * variance).sqrt()
    clusters = torch.arange(init.shape[1], device=init.device)
    centroids, moving = init, mask.any(dim=1)
    for step in range(1, max_steps + 1):
        ids = assign_points(points, centroids)
        members = (ids[..., None] == clusters) * weights
        counts = members.sum(dim=1)[..., None]
        # Not index_add_, whose order of additions varies on a GPU.
        means = members.mT @ points / counts
        # Without points a mean is no number, and not taken.
        moved = torch.where((counts > 0) & moving[:, None, None], means,
                            centroids)
        # What rests is 0 away.
        moving = torch.linalg.vector_norm(
            moved - centroids, dim=(1, 2)) > still
        centroids = moved
        # Steps that move nothing cost a GPU less than the host's question.
        if (step % 3 == 0 or moving.device.type == 'cpu') and \
                step < max_steps and not moving.any():
            break
    return centroids


@torch.no_grad()
def cluster_points(points: Tensor,
                   mask: Tensor,
                   num_clusters: int,
                   uniforms: Tensor | None = None,
                   init: Tensor | None = None,
                   **kwargs) -> tuple[Tensor, Tensor]:
    """At most K vectors that stand for the points of each image.

    The centroids of :func:`kmeans`, or the points themselves where there are
    no more than K.

    Args:
        points (Tensor): (N, P, D).
        mask (Tensor): bool (N, P), which rows are points.
        num_clusters (int): K.
        uniforms (Tensor, optional): Random numbers in [0, 1), (N, K, C), of
            which :func:`initial_centroids` are made. None draws them with
            ``NUM_CANDIDATES`` as C. Defaults to None.
        init (Tensor, optional): First centroids (N, K, D) instead of these.
            Defaults to None.
        **kwargs: See :func:`kmeans`.

    Returns:
        tuple[Tensor, Tensor]: Vectors (N, K, D) and, bool (N, K), which of
        them there are: the first ones of each image, in the order of
        clusters or points.
    """
    n, num_points, _ = points.shape
    if init is None:
        if uniforms is None:
            uniforms = torch.rand(
                n, num_clusters, NUM_CANDIDATES, device=points.device)
        init = initial_centroids(points, mask, uniforms)
    centroids = kmeans(points, mask, init, **kwargs)
    # The points first, in their order.
    first = mask.to(torch.uint8).argsort(
        dim=1, descending=True, stable=True)[:, :num_clusters, None]
    raw = points.gather(1, first.expand(-1, -1, points.shape[2]))
    raw = F.pad(raw, (0, 0, 0, max(num_clusters - num_points, 0)))
    sizes = mask.sum(dim=1)[:, None]
    vectors = torch.where((sizes > num_clusters)[..., None], centroids, raw)
    return vectors, torch.arange(
        num_clusters, device=points.device) < sizes
