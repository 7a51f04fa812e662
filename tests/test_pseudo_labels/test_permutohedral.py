"""The lattice against one that walks a dictionary point by point."""
from collections import defaultdict

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mmwsss.pseudo_labels import permutohedral
from mmwsss.pseudo_labels.permutohedral import (
    PermutohedralCRF,
    PermutohedralLattice,
)


def plain_filter(features, values):
    """Adams et al., section 3, one point and one lattice point at a time."""
    n, d = features.shape
    # The plane's basis (their equation for E), scaled to unit variance.
    basis = np.zeros((d + 1, d))
    for i in range(d):
        basis[:i + 1, i] = 1
        basis[i + 1, i] = -(i + 1)
        basis[:, i] /= np.sqrt((i + 1) * (i + 2))
    points = features @ basis.T * (d + 1) * np.sqrt(2 / 3)
    weights, splat = [], defaultdict(float)
    for point, value in zip(points, values):
        base = np.round(point / (d + 1)).astype(int)
        while base.sum():  # Bring it back into the plane.
            off = point - base * (d + 1)
            if base.sum() > 0:
                base[off.argmin()] -= 1
            else:
                base[off.argmax()] += 1
        off = point - base * (d + 1)
        order = np.argsort(off)
        corners = []
        for r in range(d + 1):
            corner = base * (d + 1) + r
            corner[order[:r]] -= d + 1
            corners.append(corner)
        # Weights that sum to one and whose corners average to the point.
        system = np.vstack([np.array(corners).T, np.ones(d + 1)])
        w = np.linalg.lstsq(system, np.append(point, 1), rcond=None)[0]
        assert w.min() > -1e-9
        weights.append([(tuple(c), x) for c, x in zip(corners, w)])
        for corner, x in weights[-1]:
            splat[corner] += x * value
    for axis in range(d + 1):
        step = np.full(d + 1, -1)
        step[axis] = d
        splat = {
            c: v + 0.5 * sum(
                splat.get(tuple(np.array(c) + s * step), 0) for s in (-1, 1))
            for c, v in splat.items()
        }
    return np.array([sum(x * splat[c] for c, x in w)
                     for w in weights]) / (1 + 2.**-d)


@pytest.mark.parametrize('d', [1, 2, 3, 5])
def test_lattice_equals_plain_one(d):
    rng = np.random.default_rng(d)
    features = rng.normal(size=(60, d)) * 1.5
    values = rng.random((60, 3))
    lattice = PermutohedralLattice(torch.from_numpy(features))
    found = lattice.filter(torch.from_numpy(values).float()).numpy()
    assert_allclose(found, plain_filter(features, values), rtol=2e-5)


def test_lattice_is_near_a_gaussian():
    y, x = np.mgrid[:41, :41].reshape(2, -1) / 4
    lattice = PermutohedralLattice(torch.from_numpy(np.stack([x, y], 1)))
    impulse = torch.zeros(41, 41)
    impulse[20, 20] = 1
    found = lattice.filter(impulse.view(-1, 1)).view(41, 41).numpy()
    distance = (x - 5)**2 + (y - 5)**2
    expected = np.exp(-distance / 2).reshape(41, 41)
    found = found * expected.sum() / found.sum()
    assert np.abs(found - expected).max() < 0.15
    variance = (found.ravel() * distance).sum() / found.sum()
    assert abs(variance - 2) < 0.2


def test_mean_field_equals_plain_formula():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (6, 7, 3), np.uint8)
    unaries = [rng.random((k, 6, 7)).astype(np.float32) * 3 for k in (2, 4)]
    params = (1.5, 2., 4., 60., 3.)
    found = PermutohedralCRF(image, *params).infer(unaries, 4)

    y, x = np.mgrid[:6, :7].reshape(2, -1)
    kernels = []
    for features, compat in (
        ([x / 1.5, y / 1.5], 2.),
        ([x / 4, y / 4, *(image.reshape(-1, 3).T / 60)], 3.)):
        lattice = PermutohedralLattice(
            torch.from_numpy(np.stack(features, axis=1)))
        k = lattice.filter(torch.eye(42)).double().numpy()
        norm = 1 / np.sqrt(k.sum(1))
        kernels.append(compat * k * norm[:, None] * norm[None])
    for unary, q_found in zip(unaries, found):
        energy = unary.reshape(len(unary), -1).astype(np.float64)
        x = -energy
        for step in range(5):
            q = np.exp(x) / np.exp(x).sum(0)
            x = -energy + sum(q @ k.T for k in kernels)
        assert_allclose(q_found.reshape(len(unary), -1), q, atol=2e-6)


def test_too_many_cells():
    far = torch.tensor([[0.] * 5, [1e6] * 5])
    with pytest.raises(ValueError, match='larger standard deviations'):
        PermutohedralLattice(far)


def test_embedding_within_a_compiled_step():
    """A compiler must not change the type of any number."""
    torch._dynamo.reset()
    points = torch.randn(50, 5, dtype=torch.float64)
    compiled = torch.compile(permutohedral._embed, backend='aot_eager')
    for found, expected in zip(compiled(points), permutohedral._embed(points)):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
