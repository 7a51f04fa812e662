import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.testing import assert_close

from mmwsss.datasets.shapes import draw_shapes_image
from mmwsss.models.localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_image,
    resize_maps,
)


def test_minmax():
    maps = torch.tensor([[[1., 3.], [5., 2.]], [[0., 0.], [0., 0.]]])
    scaled = normalize_maps(maps, 'minmax', 1e-6)
    assert_close(scaled[0], (maps[0] - 1) / (4 + 1e-6))
    assert (scaled[1] == 0).all()


def test_max():
    maps = torch.tensor([[[1., 3.], [5., 2.]]])
    assert_close(normalize_maps(maps, 'max', 1e-5), maps / (5 + 1e-5))


def test_shifted():
    eps = 0.1
    maps = torch.tensor([
        [[-3., 4.], [0.05, 2.]],  # A negative value counts as the minimum, 0.
        [[1., 1.05], [3., 2.]],
        [[0., 0.], [0., 0.]],
        [[2., 2.], [2., 2.]],
        [[-1., -2.], [-3., -4.]],
    ])
    # Per map, what is left of the values, its minimum and its maximum.
    expected = torch.stack([
        (torch.tensor(kept) - low - eps) / (high - low + eps)
        for kept, low, high in (
            ([[0., 4.], [0., 2.]], 0, 4),
            ([[0., 0.], [3., 2.]], 1, 3),
            ([[0., 0.], [0., 0.]], 0, 0),
            ([[0., 0.], [0., 0.]], 2, 2),
            ([[0., 0.], [0., 0.]], 0, 0),
        )
    ])
    before = maps.clone()
    scaled = normalize_maps(maps, 'shifted', eps)
    assert_close(scaled, expected)
    assert torch.equal(maps, before)
    assert (scaled[[2, 4]] == -1).all() and scaled.max() <= 1
    assert normalize_maps(maps[:0], 'shifted').shape == (0, 2, 2)


def test_fuse():
    a, b = torch.rand(2, 3, 3), torch.rand(2, 3, 3)
    assert_close(fuse_maps((a, b), 'sum'), a + b)
    assert_close(fuse_maps((a, b), 'max'), torch.maximum(a, b))


@pytest.mark.parametrize('size', [(48, 64), (150, 210), (1, 3)])
def test_bicubic_is_that_of_pillow(size):
    """But for rounding and clipping, which Pillow does twice, per axis.

    On ten images of VOC at the factors 0.5, 1.5 and 2 the mean difference to
    Pillow is 0.29 to 0.32 grey levels and 0.3 to 0.4 % of all values differ
    by more than 1; nine in ten of these or more lie within three pixels of
    nearly black or white ones, where the curves leave the range and Pillow
    cuts them. With bilinear resizing the mean is 2.0 to 2.7.
    """
    image = draw_shapes_image(np.random.default_rng(0), 96)[0]
    picture = Image.fromarray(image)
    expected = np.asarray(
        picture.resize(size[::-1], Image.Resampling.BICUBIC), np.float32)
    inputs = torch.from_numpy(image).float().permute(2, 0, 1)[None]
    # Normalisation and resizing change places at no other cost.
    out = resize_image((inputs - 100) / 50, size, 'bicubic') * 50 + 100
    found = out[0].permute(1, 2, 0).numpy()
    assert found.shape == expected.shape
    error = np.abs(found - expected)
    assert error.mean() < 0.4 and (error > 1).mean() < 0.01


def test_bilinear():
    inputs = torch.rand(2, 3, 8, 6)
    assert_close(
        resize_image(inputs, (12, 3)),
        F.interpolate(inputs, (12, 3), mode='bilinear', align_corners=False))
    assert resize_image(inputs, (8, 6), 'bicubic') is inputs
    with pytest.raises(ValueError, match='test_cfg.interpolation'):
        resize_image(inputs, (4, 4), 'lanczos')


@pytest.mark.parametrize('func,name', [(normalize_maps, 'normalize'),
                                       (fuse_maps, 'fuse')])
def test_unknown_mode(func, name):
    with pytest.raises(ValueError, match=f'test_cfg.{name}'):
        func(torch.rand(1, 2, 2), 'median')


@pytest.mark.parametrize('align_corners', [True, False])
def test_resize(align_corners):
    maps = torch.rand(3, 4, 5)
    expected = F.interpolate(
        maps[None], (9, 7), mode='bilinear', align_corners=align_corners)[0]
    assert_close(resize_maps(maps, (9, 7), align_corners), expected)


def test_padding_is_cut_off():
    """A 3x5 image padded to 4x8 cells: the cells come back in place."""
    maps = torch.zeros(1, 4, 8)
    maps[0, :3, :5] = torch.rand(3, 5)
    out = resize_maps(maps, (3, 5), False, (3 / 4, 5 / 8))
    assert_close(out, maps[:, :3, :5])
