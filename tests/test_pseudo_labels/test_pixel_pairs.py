from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmwsss.pseudo_labels import (
    from_slices,
    pair_labels,
    pair_offsets,
    pair_values,
    path_affinity,
    path_cells,
    path_offsets,
    pixel_pairs,
    scatter_pairs,
)
from tests.fake_gpu import FakeGPU


def pairs(size, radius, offsets):
    """All pairs of the definition: ((y, x), (y', x')) as [offset][source]."""
    reach = radius - 1
    sources = [(y, x) for y in range(size[0] - reach)
               for x in range(reach, size[1] - reach)]
    return [[((y, x), (y + dy, x + dx)) for y, x in sources]
            for dy, dx in offsets.tolist()]


def test_offsets_are_one_half_of_the_disc():
    offsets = pair_offsets(3).tolist()
    assert offsets == [[0, 1], [0, 2], [1, -2], [1, -1], [1, 0], [1, 1],
                       [1, 2], [2, -2], [2, -1], [2, 0], [2, 1], [2, 2]]
    assert [len(pair_offsets(r)) for r in (1, 2, 5, 10)] == [0, 4, 34, 152]
    both = {*map(tuple, offsets), *((-y, -x) for y, x in offsets)}
    assert both == {(y, x) for y in range(-2, 3) for x in range(-2, 3)
                    if 0 < y * y + x * x < 9}


def test_paths():
    assert path_cells(0, 2) == ((0, 2), (0, 1), (0, 0))
    assert path_cells(2, -2) == ((2, -2), (1, -2), (2, -1), (1, -1), (0, -1),
                                 (1, 0), (0, 0))
    assert path_cells(0, 0) == ((0, 0), )
    # (1, 0) and (0, 1) are less than one cell from the line to (1, 1).
    assert len(path_cells(1, 1)) == 4
    lengths = [len(path_cells(*o)) for o in path_offsets(6)]
    assert lengths == sorted(lengths)
    assert (sorted(path_offsets(6).tolist()) == sorted(
        pair_offsets(6).tolist()))


@pytest.mark.parametrize('size', [(3, 5), (4, 5), (3, 8), (6, 7)])
def test_pair_values(size):
    offsets = pair_offsets(3)
    maps = torch.randn((2, 3, *size), requires_grad=True)
    source, target = pair_values(maps, offsets, 3)
    expected = pairs(size, 3, offsets)
    assert source.shape == (2, 3, 1, len(expected[0]))
    assert target.shape == (2, 3, len(offsets), len(expected[0]))
    weight = torch.randn_like(target)
    grad = torch.zeros_like(maps)
    for p, row in enumerate(expected):
        for i, ((y, x), (v, u)) in enumerate(row):
            assert torch.equal(source[:, :, 0, i], maps[:, :, y, x])
            assert torch.equal(target[:, :, p, i], maps[:, :, v, u])
            grad[:, :, v, u] += weight[:, :, p, i]
            grad[:, :, y, x] -= weight[:, :, p, i]
    ((target - source) * weight).sum().backward()
    assert_close(maps.grad, grad)


@pytest.mark.parametrize('size', [(2, 9), (9, 4), (1, 1)])
def test_maps_without_pairs(size):
    with pytest.raises(ValueError, match='at least 3x5'):
        from_slices(size, 3)
    for func in (path_affinity, lambda x, r: pair_values(
            x, pair_offsets(r), r)):
        with pytest.raises(ValueError, match='larger images'):
            func(torch.rand(1, 1, *size), 3)


@pytest.mark.parametrize('radius', [2, 4])
def test_path_affinity(radius):
    size = (6, 9)
    edge = torch.rand((2, 1, *size), requires_grad=True)
    offsets = path_offsets(radius)
    affinity = path_affinity(edge, radius)
    weight = torch.randn_like(affinity)
    (affinity * weight).sum().backward()
    grad, edge.grad = edge.grad, None

    rows = [
        torch.stack([
            1 - torch.stack([
                edge[:, 0, y + cy, x + cx] for cy, cx in path_cells(*offset)
            ]).amax(0) for (y, x), _ in row
        ], -1) for offset, row in zip(
            offsets.tolist(), pairs(size, radius, offsets), strict=True)
    ]
    expected = torch.stack(rows, 1)
    assert_close(affinity, expected, rtol=0, atol=0)
    (expected * weight).sum().backward()
    assert_close(grad, edge.grad)
    with torch.no_grad():
        assert torch.equal(path_affinity(edge, radius), affinity)


def test_gradient_of_equal_edges_goes_to_the_target():
    edge = torch.full((1, 1, 5, 9), 0.5, requires_grad=True)
    offsets = path_offsets(5)
    affinity = path_affinity(edge, 5)
    row = offsets.tolist().index([4, -2])
    affinity[0, row, 0].backward()
    expected = torch.zeros(5, 9)
    expected[4, 4 - 2] = -1
    assert torch.equal(edge.grad[0, 0], expected)


@pytest.mark.parametrize('num_classes', [None, 21])
def test_pair_labels(num_classes):
    size, offsets = (7, 8), pair_offsets(3)
    values = torch.tensor([0, 0, 3, 20, 21, 254, 255])
    generator = torch.Generator().manual_seed(0)
    label = values[torch.randint(7, (2, *size), generator=generator)]
    for kind in (torch.uint8, torch.int64):
        bg, fg, neg = pair_labels(label.to(kind), 3, offsets, num_classes)
        for p, row in enumerate(pairs(size, 3, offsets)):
            for i, ((y, x), (v, u)) in enumerate(row):
                for n in range(2):
                    a, b = int(label[n, y, x]), int(label[n, v, u])
                    valid = max(a, b) < (num_classes or 255)
                    assert bool(bg[n, p, i]) == (a == b == 0)
                    assert bool(fg[n, p, i]) == (valid and a == b != 0)
                    assert bool(neg[n, p, i]) == (valid and a != b)


def test_all_labels_ignored():
    label = torch.full((1, 5, 9), 255)
    assert not any(x.any() for x in pair_labels(label, 3, pair_offsets(3)))


def test_scatter_pairs():
    size, offsets = (6, 8), pair_offsets(3)
    listed = pairs(size, 3, offsets)
    values = torch.rand(2, len(offsets), len(listed[0])) + 1
    maps = scatter_pairs(values, size, 3, offsets)
    assert maps.shape == (2, len(offsets), *size)
    assert int((maps != 0).sum()) == values.numel()
    for p, row in enumerate(listed):
        for i, ((y, x), _) in enumerate(row):
            assert torch.equal(maps[:, p, y, x], values[:, p, i])
    with pytest.raises(ValueError, match='12 rows .* 34 offsets'):
        scatter_pairs(values, size, 3, pair_offsets(5))


def test_offsets_are_fresh_copies():
    path_offsets(3)[:] = 7
    assert np.abs(path_offsets(3)).max() == 2


@pytest.mark.parametrize('size,radius', [((9, 14), 5), ((12, 21), 10)])
@pytest.mark.parametrize('block', [1, 2**9, 2**26])
def test_a_gpu_gets_many_paths_at_once(size, radius, block, monkeypatch):
    """The same values and gradients, whatever is worked on at a time."""
    monkeypatch.setattr(pixel_pairs, 'GPU_BLOCK', block)
    torch.manual_seed(0)
    edge, field = torch.rand(2, 1, *size), torch.randn(2, 2, *size)
    edge[0, 0, 2:5] = 0.5  # Equal maxima.
    weight = None
    found = []
    for gpu in (False, True):
        with FakeGPU() if gpu else nullcontext() as device:
            where = device.device if gpu else 'cpu'
            inputs = [
                x.clone().to(where).requires_grad_() for x in (edge, field)
            ]
            with device.counting() if gpu else nullcontext() as counts:
                affinity = path_affinity(inputs[0], radius)
                source, target = pair_values(
                    inputs[1], path_offsets(radius), radius)
                if weight is None:
                    weight = torch.rand(affinity.shape)
                weights = weight.to(where)
                # Each pair's own gradient.
                total = (affinity * weights).sum() + (
                    (source - target) * weights[:, None]).sum()
                total.backward()
            found.append([
                x.detach().cpu()
                for x in (affinity, source - target, *[x.grad for x in inputs])
            ])
    for one, other in zip(*found):
        assert_close(one, other, rtol=1e-5, atol=1e-5)
    if block > 2**20:
        assert counts.num_launches < 160
        # The test's weights, and index tensors, which are made once.
        assert counts.num_waits <= 3
