import pytest
import torch
from torch.testing import assert_close

from mmwsss.registry import MODELS


def build(cfg):
    return MODELS.build(cfg)


def test_flip_undoes_itself():
    view = build(dict(type='mmwsss.HorizontalFlip'))
    maps = torch.rand(2, 3, 4, 5)
    assert_close(view.inverse(view.apply(maps), (4, 5)), maps)
    assert view.inverse(maps, (8, 10)).shape == (2, 3, 8, 10)
    tokens = torch.rand(2, 4, 5, 7)
    assert_close(
        view.align_tokens(tokens).permute(0, 3, 1, 2),
        tokens.permute(0, 3, 1, 2).flip(-1))


def test_rescale():
    view = build(dict(type='mmwsss.Rescale', scale=0.5))
    maps = torch.rand(1, 2, 9, 8)
    small = view.apply(maps)
    assert small.shape == (1, 2, 4, 4)
    assert view.inverse(small, (9, 8)).shape == maps.shape
    assert view.apply(torch.rand(1, 1, 1, 1)).shape == (1, 1, 1, 1)
    with pytest.raises(TypeError, match='changes the token grid'):
        view.align_tokens(torch.rand(1, 2, 2, 3))
    with pytest.raises(ValueError, match='scale > 0'):
        build(dict(type='mmwsss.Rescale', scale=0.))


@pytest.mark.parametrize('scale', [0.3, 0.1, 0.29, 0.5, 0.7, 1.5])
def test_rescale_gives_the_size_of_a_scale_factor(scale):
    view = build(dict(type='mmwsss.Rescale', scale=scale))
    for side in range(10, 700):
        line = torch.zeros(1, 1, 10, side)
        expected = torch.nn.functional.interpolate(
            line, scale_factor=scale, mode='bilinear', align_corners=True)
        assert view.apply(line).shape == expected.shape, side


def test_rescale_values_are_those_of_the_grid():
    """Aligned corners: output i of n looks at input i (m - 1) / (n - 1)."""
    view = build(dict(type='mmwsss.Rescale', scale=0.5))
    maps = torch.rand(1, 1, 9, 7)
    small = view.apply(maps)
    for i in range(4):
        for j in range(3):
            y, x = i * 8 / 3, j * 6 / 2
            top, left = min(int(y), 7), min(int(x), 5)
            fy, fx = y - top, x - left
            a, b = maps[0, 0, top:top + 2, left:left + 2]
            expected = ((1 - fy) * ((1 - fx) * a[0] + fx * a[1]) + fy *
                        ((1 - fx) * b[0] + fx * b[1]))
            assert_close(small[0, 0, i, j], expected)


@pytest.mark.parametrize('size, expected', [((448, 448), (128, 128)),
                                            ((450, 53), (128, 16)),
                                            ((7, 160), (16, 48))])
def test_rescale_to_whole_patches(size, expected):
    view = build(dict(type='mmwsss.Rescale', size_divisor=16))
    maps = torch.rand(1, 2, *size)
    small = view.apply(maps)
    assert small.shape[-2:] == expected
    assert_close(
        small,
        torch.nn.functional.interpolate(
            maps, size=expected, mode='bilinear', align_corners=True))
    assert view.inverse(small, size).shape == maps.shape
    with pytest.raises(ValueError, match='size_divisor >= 1'):
        build(dict(type='mmwsss.Rescale', size_divisor=0))


def test_compose_rescale_and_flip_in_either_order():
    flip = build(dict(type='mmwsss.HorizontalFlip'))
    rescale = build(dict(type='mmwsss.Rescale', scale=0.5, size_divisor=4))
    maps = torch.rand(1, 2, 17, 26)
    for views in ([flip, rescale], [rescale, flip]):
        both = build(dict(type='mmwsss.Compose', views=views))
        small = both.apply(maps)
        assert small.shape == (1, 2, 8, 12)
        assert_close(small, rescale.apply(maps).flip(-1))
        # The mirror resizes nothing; corners stay aligned.
        assert_close(
            both.inverse(small, (17, 26)),
            rescale.inverse(small.flip(-1), (17, 26)))
    twice = build(dict(type='mmwsss.Compose', views=[flip, flip]))
    assert twice.inverse(maps, (8, 9)).shape == (1, 2, 8, 9)


def test_compose():
    flip = dict(type='mmwsss.HorizontalFlip')
    both = build(
        dict(
            type='mmwsss.Compose',
            views=[flip, dict(type='mmwsss.Rescale', scale=0.5)]))
    maps = torch.rand(1, 2, 8, 8)
    assert not both.keeps_grid
    single = build(dict(type='mmwsss.Rescale', scale=0.5))
    assert_close(both.apply(maps), single.apply(maps.flip(-1)))
    assert_close(
        both.inverse(both.apply(maps), (8, 8)),
        single.inverse(single.apply(maps.flip(-1)), (8, 8)).flip(-1))
    twice = build(dict(type='mmwsss.Compose', views=[flip, flip]))
    tokens = torch.rand(1, 2, 3, 4)
    assert twice.keeps_grid
    assert_close(twice.align_tokens(tokens), tokens)


def test_segmentor_brings_rescaled_maps_back():
    from tests.test_models.builders import build_segmentor, resnet_cfg
    model = build_segmentor(
        second_view=dict(type='mmwsss.Rescale', scale=0.5), **resnet_cfg())
    image = torch.randn(1, 3, 64, 96)
    pair = model.forward_views(image, torch.zeros(1, 5), None)
    assert not pair.second.aligned
    assert pair.second.image.shape == (1, 3, 32, 48)
    assert pair.inverse(pair.second.cams).shape == pair.first.cams.shape
    assert_close(pair.transform(image), pair.second.image)
