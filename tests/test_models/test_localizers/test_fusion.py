import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.localizers.fusion import (fuse_maps, normalize_maps,
                                             resize_maps)


def test_minmax():
    maps = torch.tensor([[[1., 3.], [5., 2.]], [[0., 0.], [0., 0.]]])
    scaled = normalize_maps(maps, 'minmax', 1e-6)
    assert_close(scaled[0], (maps[0] - 1) / (4 + 1e-6))
    assert (scaled[1] == 0).all()


def test_max():
    maps = torch.tensor([[[1., 3.], [5., 2.]]])
    assert_close(normalize_maps(maps, 'max', 1e-5), maps / (5 + 1e-5))


def test_fuse():
    a, b = torch.rand(2, 3, 3), torch.rand(2, 3, 3)
    assert_close(fuse_maps((a, b), 'sum'), a + b)
    assert_close(fuse_maps((a, b), 'max'), torch.maximum(a, b))


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
