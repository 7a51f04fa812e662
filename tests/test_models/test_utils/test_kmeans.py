import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.utils.kmeans import (
    assign_points,
    cluster_points,
    initial_centroids,
    kmeans,
)


def lloyd(points, centroids, steps):
    """One image, point by point."""
    centroids = centroids.clone()
    for _ in range(steps):
        members = [[] for _ in centroids]
        for p in points:
            distances = [float((p - c).square().sum()) for c in centroids]
            members[distances.index(min(distances))].append(p)
        for k, mine in enumerate(members):
            if mine:
                centroids[k] = torch.stack(mine).mean(dim=0)
    return centroids


def blobs(n=3, num=40, dims=5, seed=0):
    torch.manual_seed(seed)
    return torch.randn(n, num, dims, dtype=torch.float64) + \
        4 * torch.randint(3, (n, num, 1))


def inertia(points, centroids):
    return (points[:, None] - centroids).square().sum(dim=2).amin(dim=1).sum()


def test_lloyd_steps_of_images_of_different_sizes():
    points = blobs()
    mask = torch.rand(3, 40) < 0.6
    mask[1] = True
    init = torch.randn(3, 6, 5, dtype=torch.float64)
    init[0, 2] = 100  # never gets a point
    found = kmeans(points, mask, init, max_steps=4, tol=0)
    for i in range(3):
        assert_close(found[i], lloyd(points[i][mask[i]], init[i], 4))
    assert (found[0, 2] == 100).all()


def test_ties_go_to_the_lowest_index():
    points = torch.zeros(1, 4, 2)
    centroids = torch.tensor([[[1., 0], [0, 1], [0, 0], [0, 0]]])
    assert (assign_points(points, centroids) == 2).all()
    assert (assign_points(points, centroids[:, [3, 0, 1, 2]]) == 0).all()
    assert (assign_points(points, centroids[:, :2]) == 0).all()


def test_an_image_rests_on_its_own():
    torch.manual_seed(0)
    points = torch.randn(2, 200, 5, dtype=torch.float64)
    points[1] = points[1] * 1000  # needs no other tolerance
    mask = torch.ones(2, 200, dtype=torch.bool)
    init = points[:, :4].clone()
    together = kmeans(points, mask, init, tol=0.1)
    for i in range(2):
        alone = kmeans(
            points[i:i + 1], mask[i:i + 1], init[i:i + 1], tol=0.1)
        assert_close(alone[0], together[i])
    # And it does rest: without tolerance there is more to gain.
    exact = kmeans(points, mask, init, max_steps=100, tol=0)
    assert not torch.allclose(exact, together)
    assert inertia(points[0], exact[0]) <= inertia(points[0], together[0])
    assert_close(exact, kmeans(points, mask, exact, max_steps=1, tol=0))


def test_first_centroids():
    points = torch.tensor([[[0.], [1], [3], [9], [9]]])
    mask = torch.tensor([[False, True, True, True, True]])
    # Any of four points; then squares 0, 4, 64, 64 of 132 from the first.
    for u, first in ((0., 1), (.24, 1), (.26, 3), (.51, 9), (.99, 9)):
        found = initial_centroids(points, mask, torch.tensor([[[u]]]))
        assert float(found) == first
    for u, second in ((0., 3), (3.9 / 132, 3), (4.1 / 132, 9), (.999, 9)):
        found = initial_centroids(points, mask, torch.tensor([[[0.], [u]]]))
        assert found.flatten().tolist() == [1, second]
    # After 1 and 9 only 3 is left; after that all are as good.
    found = initial_centroids(
        points, mask, torch.tensor([0., .9, .5, .0]).view(1, 4, 1))
    assert found.flatten().tolist() == [1, 9, 3, 1]


def test_first_centroids_are_drawn_by_squared_distance():
    points = torch.tensor([0., 1, 2, 4]).view(1, 4, 1).expand(4000, -1, -1)
    mask = torch.ones(4000, 4, dtype=torch.bool)
    torch.manual_seed(0)
    uniforms = torch.cat((torch.zeros(4000, 1), torch.rand(4000, 1)), dim=1)
    uniforms = uniforms[..., None]
    second = initial_centroids(points, mask, uniforms)[:, 1, 0]
    for value, share in ((0, 0), (1, 1 / 21), (2, 4 / 21), (4, 16 / 21)):
        assert float((second == value).float().mean()) == pytest.approx(
            share, abs=0.03)


def test_the_best_candidate_becomes_a_first_centroid():
    points = torch.tensor([[[0.], [1], [3], [9], [50]]])
    mask = torch.tensor([[True, True, True, True, False]])
    # 0, 1, 3, 9: alone 3 leaves the smallest sum, 49 (0: 91, 1: 69, 9: 198).
    every = torch.tensor([.1, .3, .6, .9])
    found = initial_centroids(points, mask, every.view(1, 1, 4))
    assert float(found) == 3
    # Next to 3 the squares are 9, 4, 0, 36: 0 leaves 37, 1 leaves 37, 9 13.
    draws = torch.stack((every, torch.tensor([.1, .2, .5, .0])))[None]
    found = initial_centroids(points, mask, draws)
    assert found.flatten().tolist() == [3, 9]
    # A candidate that is not there cannot be taken.
    draws[0, 1] = .1
    found = initial_centroids(points, mask, draws)
    assert found.flatten().tolist() == [3, 0]


def test_more_candidates_leave_less():
    torch.manual_seed(0)
    points = torch.randn(16, 400, 8) + 6 * torch.randn(16, 12, 8)[
        :, torch.randint(12, (400, ))]
    mask = torch.rand(16, 400) < 0.9
    left = []
    for candidates in (1, 16):
        found = cluster_points(points, mask, 8,
                               torch.rand(16, 8, candidates))[0]
        left.append(sum(inertia(p[m], c) for p, m, c in zip(
            points, mask, found)))
    assert left[1] < 0.95 * left[0]


@pytest.mark.parametrize('num', [0, 1, 7, 8, 9])
def test_few_points_stand_for_themselves(num):
    points = blobs(2, 12)
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[0, torch.randperm(12)[:num]] = True
    mask[1] = True
    found, exist = cluster_points(points, mask, 8)
    assert exist.sum(dim=1).tolist() == [min(num, 8), 8]
    if num <= 8:
        assert torch.equal(found[0][exist[0]], points[0][mask[0]])
    else:
        assert inertia(points[0][mask[0]], found[0]) < 20
    assert found[exist].isfinite().all()


def test_fewer_positions_than_clusters():
    points = blobs(1, 3)
    mask = torch.ones(1, 3, dtype=torch.bool)
    found, exist = cluster_points(points, mask, 8)
    assert found.shape == (1, 8, 5)
    assert torch.equal(found[exist], points[0])


@pytest.mark.parametrize('value', [0., 3.7])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_identical_points(value, dtype):
    points = torch.full((2, 30, 4), value, dtype=dtype)
    mask = torch.ones(2, 30, dtype=torch.bool)
    found, exist = cluster_points(points, mask, 8)
    assert exist.all()
    assert_close(found, torch.full_like(found, value))


def test_the_same_seed_gives_the_same():
    points = blobs().float()
    mask = torch.rand(3, 40) < 0.7
    uniforms = torch.rand(3, 8, 4)
    first = cluster_points(points, mask, 8, uniforms)
    again = cluster_points(points, mask, 8, uniforms)
    assert torch.equal(first[0], again[0])
    torch.manual_seed(3)
    drawn = cluster_points(points, mask, 8)[0]
    assert not torch.equal(drawn, first[0])
    torch.manual_seed(3)
    assert torch.equal(cluster_points(points, mask, 8)[0], drawn)


def test_no_gradient():
    points = blobs(1).float().requires_grad_()
    mask = torch.ones(1, 40, dtype=torch.bool)
    assert not cluster_points(points, mask, 4)[0].requires_grad
