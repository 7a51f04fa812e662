"""k-means of all images of a batch at once against one image at a time.

The reference is what FBR's published code does in every training step:
scikit-learn's KMeans on the background features of each image, to
convergence, from one and from ten starts. Where scikit-learn is not
installed, plain k-means++ and Lloyd steps in NumPy stand in. Both start from
the same features; the inertia (sum of squared distances to the nearest
centroid, over all images) says which result is better, below 1 in the last
column being ours.

    OMP_NUM_THREADS=1 python benchmarks/bench_kmeans.py
"""
import argparse

import numpy as np
import torch
from common import machine, timed

from mmwsss.models.utils.kmeans import NUM_CANDIDATES, cluster_points

MAX_STEPS, TOL = 300, 1e-4

try:
    from sklearn.cluster import KMeans
except ImportError:
    KMeans = None


def make(images, pixels, channels, kind):
    """Features after a ReLU: around 20 centres, or without structure."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, pixels, channels, generator=generator)
    if kind == 'groups':
        centres = torch.randn(images, 20, channels, generator=generator)
        which = torch.randint(20, (images, pixels), generator=generator)
        x = 0.5 * x + centres.gather(
            1, which[..., None].expand(-1, -1, channels))
    return x.relu()


def distances(points, centroids):
    return (points**2).sum(1)[:, None] - 2 * points @ centroids.T + (
        centroids**2).sum(1)


def plain_kmeans(points, clusters, starts, rng):
    """The best of some runs of k-means++ and Lloyd steps on one image."""
    best = np.inf, None
    for _ in range(starts):
        chosen = [points[rng.integers(len(points))]]
        while len(chosen) < clusters:
            nearest = distances(points, np.stack(chosen)).min(1).clip(0)
            index = rng.choice(len(points), p=nearest / nearest.sum())
            chosen.append(points[index])
        centroids = np.stack(chosen)
        tol = TOL * points.var(axis=0).mean()
        for _ in range(MAX_STEPS):
            ids = distances(points, centroids).argmin(1)
            members = np.eye(clusters, dtype=points.dtype)[ids]
            counts = members.sum(0)[:, None]
            moved = np.where(counts > 0,
                             members.T @ points / counts.clip(1), centroids)
            shift, centroids = ((moved - centroids)**2).sum(), moved
            if shift <= tol:
                break
        value = distances(points, centroids).min(1).sum()
        if value < best[0]:
            best = value, centroids
    return best[1]


def reference(points, clusters, starts):
    """Centroids of all images, one image after the other."""
    found, rng = [], np.random.default_rng(0)
    for image in points.numpy():
        if KMeans is None:
            found.append(plain_kmeans(image, clusters, starts, rng))
        else:
            found.append(
                KMeans(clusters, n_init=starts, max_iter=MAX_STEPS, tol=TOL,
                       random_state=0).fit(image).cluster_centers_)
    return torch.from_numpy(np.stack(found))


def inertia(points, centroids):
    return float(torch.cdist(points, centroids).amin(dim=2).square().sum())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=16)
    parser.add_argument('--pixels', type=int, default=1024)
    parser.add_argument('--channels', type=int, default=128)
    parser.add_argument('--clusters', type=int, default=8)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    name = 'written out' if KMeans is None else 'scikit-learn'
    print(machine())
    print(f'{args.images} images x {args.pixels} x {args.channels}, '
          f'{args.clusters} clusters; other: {name}')
    print(f'{"":28}{"other":>13}{"ours":>13}{"ratio":>8}{"inertia":>11}')
    for kind in ('groups', 'no structure'):
        points = make(args.images, args.pixels, args.channels, kind)
        mask = torch.ones(points.shape[:2], dtype=torch.bool)
        uniforms = torch.rand(args.images, args.clusters, NUM_CANDIDATES,
                              generator=torch.Generator().manual_seed(1))
        for starts in (1, 10):
            expected, found, (other, own, ratio) = timed(
                lambda: reference(points, args.clusters, starts),
                lambda: cluster_points(points, mask, args.clusters,
                                       uniforms)[0], args.repeats)
            quality = inertia(points, found) / inertia(points, expected)
            label = f'{kind}, {starts} start{"s" * (starts > 1)}'
            print(f'{label:28}{other * 1e3:>10.1f} ms{own * 1e3:>10.1f} ms'
                  f'{ratio:>7.1f}x{quality:>11.4f}', flush=True)


if __name__ == '__main__':
    main()
