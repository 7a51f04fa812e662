"""The bilateral solver against loops, dense matrices and plain pictures."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmwsss.pseudo_labels.bilateral_solver import (
    BilateralSolver,
    bilateral_grid,
    bilateral_solve,
)


def picture(height=7, width=9, seed=0):
    """Smooth colours, so that pixels share vertices."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 3, 3)).astype(float)
    rows = np.linspace(0, 2, height)[:, None]
    columns = np.linspace(0, 2, width)[None]
    near = coarse[rows.round().astype(int), columns.round().astype(int)]
    return near + rng.uniform(-9, 9, near.shape).clip(-near, 255 - near)


def loop_grid(image, spatial, luma, chroma):
    """Cells of pixels and the blur, a pixel at a time."""
    height, width, _ = image.shape
    cells = []
    for y in range(height):
        for x in range(width):
            r, g, b = image[y, x]
            bright = .299 * r + .587 * g + .114 * b
            blue = -.168736 * r - .331264 * g + .5 * b + 128
            red = .5 * r - .418688 * g - .081312 * b + 128
            cells.append((int(y / spatial), int(x / spatial),
                          int(bright / luma), int(blue / chroma),
                          int(red / chroma)))
    vertices = sorted(set(cells))
    blur = np.zeros((len(vertices), len(vertices)))
    for i, a in enumerate(vertices):
        for j, b in enumerate(vertices):
            apart = [abs(p - q) for p, q in zip(a, b)]
            blur[i, j] = 10 if i == j else float(sum(apart) == 1)
    return np.array([vertices.index(c) for c in cells]), blur


# The last two: place alone, and a single vertex.
@pytest.mark.parametrize('sides', [(3, 40, 20), (2, 16, 8), (3, 300, 300),
                                   (50, 300, 300)])
def test_grid(sides):
    image = picture()
    vertex, blur = bilateral_grid(image, *sides)
    expected, dense = loop_grid(image, *sides)
    assert np.array_equal(vertex, expected)
    assert np.array_equal(blur.toarray(), dense)
    if sides == (3, 40, 20):
        assert 5 < len(dense) < image.size / 3
        assert (dense == 1).sum() > len(dense)


def dense_solve(image, maps, *sides):
    """The equations as they stand, solved exactly."""
    vertex, blur = loop_grid(image, *sides)
    splat = np.eye(len(blur))[vertex].T  # (V, P)
    count = splat.sum(axis=1)
    n = np.ones(len(blur))
    for _ in range(10):
        n = np.sqrt(n * count / (blur @ n))
    m = n * (blur @ n)
    matrix = 256 * (np.diag(m) - np.diag(n) @ blur @ np.diag(n))
    matrix += np.diag(splat @ np.full(len(vertex), .999))
    flat = maps.reshape(len(maps), -1)
    solved = np.linalg.solve(matrix, splat @ (.999 * flat.T))
    return (splat.T @ solved).T.reshape(maps.shape)


def test_solution():
    image, sides = picture(20, 20), (5, 60, 40)
    maps = np.random.default_rng(1).random((3, 20, 20))
    maps[1, :, :10] = 0
    maps[2] = .3
    found = bilateral_solve(image, maps, *sides)
    expected = dense_solve(image, maps, *sides)
    # The solver stops at 1e-5 of the right side.
    np.testing.assert_allclose(found, expected, atol=6e-5)
    assert np.ptp(expected[1]) > .3, 'nothing is left of the map'
    # A constant map stays, and the order of the maps does not matter.
    np.testing.assert_allclose(found[2], .3, atol=1e-9)
    assert np.array_equal(
        bilateral_solve(image, maps[::-1], *sides), found[::-1])


def test_published_cells():
    image = picture(40, 36)
    maps = np.random.default_rng(1).random((1, 40, 36))
    assert np.array_equal(
        bilateral_solve(image, maps), bilateral_solve(image, maps, 16, 16, 8))


def square():
    """A red square on green, and a mask that is two pixels too far left."""
    image = np.zeros((1, 3, 48, 48), np.float32)
    image[0, 1] = 160
    image[0, :, 12:36, 12:36] = np.array([200, 40, 40])[:, None, None]
    true = np.zeros((48, 48), bool)
    true[12:36, 12:36] = True
    maps = torch.from_numpy(np.roll(true, -4, axis=1)[None, None]).float()
    return torch.from_numpy(image), maps, true


def test_mask_follows_outline():
    image, maps, true = square()
    found = BilateralSolver()(image, maps)
    assert found.shape == maps.shape and found.dtype == torch.float32
    assert np.array_equal((found[0, 0] > .5).numpy(), true)
    # Not where the image has no outline.
    flat = BilateralSolver()(image * 0 + 90, maps)
    assert not (flat[0, 0] > .5).equal(torch.from_numpy(true))


def test_holes():
    image, maps, true = square()
    # A hole of another colour, which the mask leaves out.
    image[0, :, 20:26, 20:26] = torch.tensor([20., 20., 220.]).view(3, 1, 1)
    maps[0, 0, 20:26, 20:26] = 0
    hollow = true.copy()
    hollow[20:26, 20:26] = False
    for fill, expected in ((False, hollow), (True, true)):
        found = BilateralSolver(fill_holes=fill)(image, maps)[0, 0] > .5
        assert np.array_equal(found.numpy(), expected)


def test_batch_and_sizes():
    """Each image by itself, maps of another size, any number type."""
    images = torch.cat([square()[0], square()[0].flip(1)])
    small = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    refiner = BilateralSolver()
    found = refiner(images, small)
    assert found.shape == (2, 3, 48, 48)
    large = F.interpolate(small, (48, 48), mode='bilinear')
    for i in range(2):
        assert torch.equal(
            found[i:i + 1], refiner(images[i:i + 1], large[i:i + 1]))
    half = refiner(images, small.bfloat16())
    torch.testing.assert_close(
        half, refiner(images, small.bfloat16().float()), rtol=0, atol=0)
    assert refiner(images[:, :, :1, :1], small).shape == (2, 3, 1, 1)
    assert refiner(images, small[:, :0]).shape == (2, 0, 48, 48)
