import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.pseudo_labels import (
    pair_offsets,
    path_affinity,
    path_cells,
    path_offsets,
    scatter_pairs,
)
from mmwsss.pseudo_labels.random_walk import (
    chebyshev_weights,
    edge_affinity,
    random_walk,
    walk_scores_irn,
    walk_scores_psa,
)

OFFSETS = pair_offsets(3)


def random_affinity(size, num=1, offsets=OFFSETS, seed=0):
    """Affinities of all pairs on a map; NaN where there is no pair.

    The NaN shows that nothing outside the map is ever read.
    """
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    values = torch.rand((num, len(offsets), h, w), generator=generator)
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    for p, (dy, dx) in enumerate(offsets.tolist()):
        outside = (y + dy >= h) | (x + dx < 0) | (x + dx >= w)
        values[:, p, outside] = float('nan')
    return values


def dense_walk(planes, affinity, offsets, beta, num_steps):
    """The published procedure: a power of a column-normalised matrix."""
    num, h, w = affinity.shape
    matrix = torch.eye(h * w, dtype=torch.float64)
    for p, (dy, dx) in enumerate(offsets.tolist()):
        for y in range(h):
            for x in range(w):
                if y + dy < h and 0 <= x + dx < w:
                    i, j = y * w + x, (y + dy) * w + x + dx
                    matrix[i, j] = matrix[j, i] = affinity[p, y, x]
    matrix = matrix**beta
    matrix = matrix / matrix.sum(dim=0, keepdim=True)
    power = torch.linalg.matrix_power(matrix, num_steps)
    return (planes.double().flatten(1) @ power).view(-1, h, w)


@pytest.mark.parametrize('size', [(9, 7), (1, 12), (12, 1), (2, 2), (1, 1)])
@pytest.mark.parametrize('num_steps', [0, 1, 2, 5, 256])
def test_equals_the_dense_walk(size, num_steps):
    affinity = random_affinity(size, num=2)
    planes = torch.rand(2, 3, *size)
    walked = random_walk(planes, affinity, OFFSETS, 4, num_steps)
    assert walked.dtype == torch.float32
    for n in range(2):
        expected = dense_walk(planes[n], affinity[n], OFFSETS, 4, num_steps)
        assert_close(walked[n].double(), expected, rtol=0, atol=1e-6)


def test_float64_is_kept():
    affinity = random_affinity((6, 8))
    planes = torch.rand(1, 2, 6, 8, dtype=torch.float64)
    walked = random_walk(planes, affinity, OFFSETS, 2, 64)
    expected = dense_walk(planes[0], affinity[0], OFFSETS, 2, 64)
    assert_close(walked[0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize('power', [0, 1, 2, 7, 64, 256, 4096])
def test_chebyshev_weights(power):
    weights = chebyshev_weights(power)
    angle = torch.linspace(0, torch.pi, 1001, dtype=torch.float64)
    value = sum(c * torch.cos(j * angle) for j, c in enumerate(weights))
    assert_close(value, torch.cos(angle)**power, rtol=0, atol=2e-8)
    assert sum(weights) == pytest.approx(1, abs=1e-14)
    assert len(weights) <= min(power, 6.2 * power**0.5) + 1


def test_isolated_pixels_keep_their_values():
    affinity = random_affinity((7, 7))
    planes = torch.rand(1, 2, 7, 7)
    assert torch.equal(
        random_walk(planes, torch.zeros_like(affinity), OFFSETS, 8, 256),
        planes)


def test_constant_planes_stay_so():
    planes = torch.tensor([0., 0.3, 1.]).view(1, 3, 1, 1).expand(1, 3, 8, 9)
    walked = random_walk(planes, random_affinity((8, 9)), OFFSETS, 1, 256)
    assert torch.equal(walked, planes)


def test_no_value_beyond_the_extremes():
    planes = (torch.rand(1, 4, 12, 12) > 0.9).float()
    walked = random_walk(planes, random_affinity((12, 12)), OFFSETS, 8, 256)
    assert walked.min() >= 0 and walked.max() <= 1


@pytest.mark.parametrize('shape', [(1, 0, 4, 5), (0, 2, 4, 5)])
def test_nothing_to_walk(shape):
    affinity = random_affinity((4, 5), num=shape[0])
    assert random_walk(torch.rand(shape), affinity, OFFSETS, 8,
                       4).shape == shape


def test_autocast_and_half_precision_do_not_matter():
    affinity = random_affinity((6, 6))
    planes = torch.rand(1, 2, 6, 6).bfloat16()
    expected = random_walk(planes.float(), affinity, OFFSETS, 8, 16)
    with torch.autocast('cpu', torch.bfloat16):
        actual = random_walk(planes, affinity, OFFSETS, 8, 16)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


def test_wrong_arguments():
    affinity = random_affinity((4, 5))
    with pytest.raises(ValueError, match=r'12 offsets .*\(1, 12, 4, 6\)'):
        random_walk(torch.rand(1, 2, 4, 6), affinity, OFFSETS, 8, 4)
    with pytest.raises(ValueError, match='above 0'):
        random_walk(torch.rand(1, 2, 4, 5), affinity, OFFSETS, 0, 4)


@pytest.mark.parametrize('size', [(7, 9), (1, 1), (2, 5), (9, 3)])
def test_edge_affinity(size):
    radius, (h, w) = 4, size
    edge = torch.rand(2, 1, *size)
    offsets = path_offsets(radius)
    affinity = edge_affinity(edge, radius)
    assert affinity.shape == (2, len(offsets), h, w)
    for p, (dy, dx) in enumerate(offsets.tolist()):
        for y in range(h):
            for x in range(w):
                expected = torch.zeros(2)
                if y + dy < h and 0 <= x + dx < w:
                    expected = 1 - torch.stack([
                        edge[:, 0, y + cy, x + cx]
                        for cy, cx in path_cells(dy, dx)
                    ]).amax(0)
                assert torch.equal(affinity[:, p, y, x], expected)


def test_edge_affinity_inside_is_path_affinity():
    edge = torch.rand(1, 1, 8, 11)
    inside = scatter_pairs(
        path_affinity(edge, 4), (8, 11), 4, path_offsets(4))
    full = edge_affinity(edge, 4)
    assert torch.equal(inside, torch.where(inside != 0, full, 0))


@pytest.mark.parametrize('num', [0, 1, 2])
def test_walk_scores_psa(num):
    size, stride, offsets = (13, 18), 4, pair_offsets(2)
    cams = torch.rand(num, *size)
    affinity = random_affinity((4, 5), offsets=offsets)[0]
    scores = walk_scores_psa(
        cams, affinity, offsets, alpha=3, beta=2, log_steps=3, stride=stride)
    background = (1 - cams.amax(0))**3 if num else torch.ones(size)
    planes = torch.zeros(num + 1, 16, 20)
    planes[:, :13, :18] = torch.cat([background[None], cams])
    low = planes.view(-1, 4, 4, 5, 4).mean(dim=(2, 4))
    low = dense_walk(low, affinity, offsets, 2, 8).float()
    up = F.interpolate(low[None], (16, 20), mode='bilinear')[0]
    assert_close(scores, up[:, :13, :18], rtol=0, atol=1e-6)
    if num == 0:
        assert scores.shape == (1, *size)


@pytest.mark.parametrize('num', [1, 3])
def test_walk_scores_irn(num):
    cams, edge = torch.rand(num, 5, 6), torch.rand(5, 6)
    scores = walk_scores_irn(cams, edge, (18, 21), 3, beta=2, log_steps=4)
    affinity = edge_affinity(edge[None, None], 3)[0]
    walked = dense_walk(cams * (1 - edge), affinity, path_offsets(3), 2, 16)
    up = F.interpolate(walked[None], (20, 24), mode='bilinear')[0]
    up = (up[:, :18, :21] / up[:, :18, :21].max()).float()
    assert_close(scores, up, rtol=0, atol=1e-6)


def test_walk_scores_irn_without_anything():
    edge = torch.rand(5, 6)
    assert walk_scores_irn(torch.rand(0, 5, 6), edge,
                           (18, 21)).shape == (0, 18, 21)
    scores = walk_scores_irn(torch.zeros(2, 5, 6), edge, (18, 21))
    assert torch.equal(scores, torch.zeros(2, 18, 21))


@pytest.mark.parametrize('radius', [0, 1])
def test_without_pairs(radius):
    planes, offsets = torch.rand(1, 2, 2, 3), pair_offsets(radius)
    affinity = torch.zeros(1, 0, 2, 3)
    assert torch.equal(
        random_walk(planes, affinity, offsets, 8, 256), planes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_equals_cpu():
    edge, planes = torch.rand(2, 1, 20, 30), torch.rand(2, 3, 20, 30)
    offsets = path_offsets(5)
    walked = [
        random_walk(
            planes.to(device), edge_affinity(edge.to(device), 5), offsets, 10,
            256).cpu() for device in ('cpu', 'cuda')
    ]
    assert_close(*walked, rtol=0, atol=1e-6)
