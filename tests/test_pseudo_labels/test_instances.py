"""Instances against plain loops over cells and known fields."""
import math

import numpy as np
import pytest
import torch

from mmwsss.pseudo_labels import (
    cluster_cells,
    find_fragments,
    instances_irn,
    refine_centroids,
    split_planes,
    walk_scores_irn,
)


def smooth_field(h, w, seed, scale=2.0):
    """A random field that changes slowly."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 2, 4, 5, generator=generator) * scale
    return torch.nn.functional.interpolate(
        coarse, size=(h, w), mode='bilinear', align_corners=True)[0]


def centroids_by_loop(field, num_steps):
    """One cell after the other.

    In float32 and in the same order, since paths through such a field part
    quickly.
    """
    field, one = field.numpy(), np.float32(1)
    _, h, w = field.shape
    result = np.zeros((2, h, w), int)
    for y in range(h):
        for x in range(w):
            at = [np.float32(y), np.float32(x)]
            for _ in range(num_steps):
                y0, x0 = math.floor(at[0]), math.floor(at[1])
                y1, x1 = math.ceil(at[0]), math.ceil(at[1])
                b, r = at[0] - np.float32(y0), at[1] - np.float32(x0)
                step = ((one - b) * (one - r) * field[:, y0, x0] +
                        (one - b) * r * field[:, y0, x1] +
                        b * (one - r) * field[:, y1, x0] +
                        b * r * field[:, y1, x1])
                at = [
                    np.float32(min(max(at[0] + step[0], 0), h - 1)),
                    np.float32(min(max(at[1] + step[1], 0), w - 1))
                ]
            result[:, y, x] = round(float(at[0])), round(float(at[1]))
    return result


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('num_steps', [0, 1, 7, 60])
def test_centroids_equal_a_loop(seed, num_steps):
    field = smooth_field(9, 13, seed)
    ours = refine_centroids(field, num_steps)
    assert ours.dtype == torch.int64
    assert np.array_equal(ours, centroids_by_loop(field, num_steps))


def field_to(centres, h, w):
    """Displacements that lead every cell to the nearest of some places."""
    grid = torch.stack(
        torch.meshgrid(torch.arange(h), torch.arange(w),
                       indexing='ij')).float()
    offsets = torch.stack([
        torch.tensor(c).float()[:, None, None] - grid for c in centres
    ])
    nearest = offsets.norm(dim=1).argmin(0)
    field = torch.gather(offsets, 0,
                         nearest[None, None].expand(1, 2, h, w))[0]
    return field, nearest


def test_cells_arrive_where_the_field_leads():
    centres = [(2, 3), (10, 12)]
    field, nearest = field_to(centres, 14, 17)
    at = refine_centroids(field)
    assert torch.equal(at, torch.tensor(centres)[nearest].permute(2, 0, 1))
    # Half as long steps arrive at the same places.
    assert torch.equal(refine_centroids(field / 2), at)
    # A constant field leads over the border; cells stay on the map.
    drift = torch.full((2, 6, 8), 3.0)
    drift[1] = -1
    at = refine_centroids(drift)
    assert (at[0] == 5).all() and (at[1] == 0).all()


def test_clusters():
    field, nearest = field_to([(2, 3), (10, 12)], 14, 17)
    clusters = cluster_cells(field, refine_centroids(field), 2.5)
    assert sorted(clusters.unique().tolist()) == [1, 2]
    assert torch.equal(clusters == 2, nearest == 1)
    # Nowhere short: no cell arrives in a centre.
    drift = torch.full((2, 6, 8), 3.0)
    assert not cluster_cells(drift, refine_centroids(drift)).any()
    # Centres that touch at a corner only are two: 4-connected.
    field = torch.full((2, 4, 4), 9.0)
    field[:, :2, :2] = field[:, 2:, 2:] = 0
    stay = torch.stack(
        torch.meshgrid(torch.arange(4), torch.arange(4), indexing='ij'))
    assert cluster_cells(field, stay).tolist() == [
        [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]
    ]
    # The threshold itself is not short.
    exact = torch.zeros(2, 1, 3)
    exact[0] = torch.tensor([2.4, 2.5, 2.6])
    own = torch.stack((torch.zeros(1, 3, dtype=torch.long),
                       torch.arange(3)[None]))
    assert cluster_cells(exact, own, 2.5).tolist() == [[1, 0, 0]]


def clusters_by_loop(field, centroids, threshold):
    """Flood fill, cell by cell."""
    _, h, w = field.shape
    short = field.norm(dim=0) < threshold
    numbers = torch.zeros(h, w, dtype=torch.long)
    count = 0
    for y in range(h):
        for x in range(w):
            if not short[y, x] or numbers[y, x]:
                continue
            count += 1
            todo = [(y, x)]
            while todo:
                a, b = todo.pop()
                if (0 <= a < h and 0 <= b < w and short[a, b]
                        and not numbers[a, b]):
                    numbers[a, b] = count
                    todo += [(a + 1, b), (a - 1, b), (a, b + 1), (a, b - 1)]
    out = torch.zeros(h, w, dtype=torch.long)
    for y in range(h):
        for x in range(w):
            out[y, x] = numbers[tuple(centroids[:, y, x].tolist())]
    return out


@pytest.mark.parametrize('seed', range(4))
def test_clusters_equal_a_loop(seed):
    field = smooth_field(15, 19, seed, scale=4)
    centroids = refine_centroids(field, 40)
    ours = cluster_cells(field, centroids, 2.5)
    expected = clusters_by_loop(field, centroids, 2.5)
    assert torch.equal(ours, expected)


def test_split_planes():
    clusters = torch.tensor([[0, 1, 1], [0, 3, 3]])
    cams = torch.rand(2, 2, 3) + 0.1
    cams[1, :, 1:] = 0
    planes, index = split_planes(cams, clusters)
    # The second class lies in cluster 0 only: its other parts are left out.
    assert index.tolist() == [0, 0, 0, 1]
    for plane, number in zip(planes, (0, 1, 3, 0)):
        assert torch.equal(plane != 0, clusters == number)
    assert torch.equal(planes[:3].sum(0), cams[0])
    assert torch.equal(planes[3], cams[1])
    planes, index = split_planes(torch.zeros(0, 2, 3), clusters)
    assert planes.shape == (0, 2, 3) and index.shape == (0, )


def test_fragments():
    scores = torch.zeros(2, 10, 10)
    scores[0, :2, :2] = 0.5
    scores[0, 0, 0] = 0.75
    scores[0, 5:, 5:] = 0.6  # another part of the same plane
    scores[1, 6:9, 6:9] = 0.9  # wins inside it
    scores[1, 0, 9] = 0.8  # one pixel: 1 % of the image
    scores[1, 4, 0] = 0.25  # not above the background
    masks, index, score = find_fragments(scores, 0.25, 0.02)
    assert masks.dtype == torch.bool and masks.shape == (4, 10, 10)
    assert index.tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(score, torch.tensor([0.75, 0.6, 0, 0.9]))
    assert masks.sum((1, 2)).tolist() == [4, 25 - 9, 1, 9]
    assert masks.sum(0).max() == 1  # no overlap
    assert masks[2, 0, 9] and masks[3, 7, 7] and not masks[1, 7, 7]
    # Exactly the smallest area is enough.
    assert find_fragments(scores, 0.25, 0.01)[2][2] == scores[1, 0, 9]
    for empty in (torch.zeros(0, 4, 5), torch.full((3, 4, 5), 0.2)):
        masks, index, score = find_fragments(empty)
        assert masks.shape == (0, 4, 5)
        assert index.shape == score.shape == (0, )


def test_two_objects_of_one_class():
    """A wall of edges and a field tell two blobs apart; a walk fills them."""
    h, w = 12, 20
    edge = torch.zeros(h, w)
    edge[:, 9:11] = 1
    edge[[0, -1]] = edge[:, [0, -1]] = 1
    field, nearest = field_to([(6, 5), (6, 15)], h, w)
    cams = torch.zeros(2, h, w)
    cams[0, 5:7, 3:6] = 1.0
    cams[0, 5:7, 14:17] = 0.8
    options = dict(radius=3, beta=10, log_steps=6, stride=4)
    masks, index, scores = instances_irn(
        cams, edge, field, (h * 4, w * 4), min_area=0.01, **options)
    assert index.tolist() == [0, 0]
    left, right = masks
    assert left[:, :36].any() and not left[:, 44:].any()
    assert right[:, 44:].any() and not right[:, :36].any()
    assert left.sum() > 0.25 * left.numel()
    assert scores.max() == 1 and 0 < scores.min() < 1
    # Without displacements to tell them apart they are one CAM, whose
    # parts the walk keeps apart but which is scored as one plane.
    together = walk_scores_irn(cams, edge, (h * 4, w * 4), **options)
    planes, index = split_planes(
        cams, cluster_cells(field, refine_centroids(field)))
    parts = walk_scores_irn(planes, edge, (h * 4, w * 4), **options)
    assert index.tolist() == [0, 0]
    total = parts.sum(0)
    torch.testing.assert_close(
        total / total.max(), together[0], rtol=0, atol=1e-5)


def test_image_without_class():
    field = smooth_field(8, 9, 0)
    masks, index, scores = instances_irn(
        torch.zeros(0, 8, 9), torch.zeros(8, 9), field, (30, 33), radius=3)
    assert masks.shape == (0, 30, 33)
    assert index.shape == scores.shape == (0, )
