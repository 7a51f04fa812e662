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
    from tests.test_models.builders import (build_segmentor, resnet_cfg)
    model = build_segmentor(
        second_view=dict(type='mmwsss.Rescale', scale=0.5), **resnet_cfg())
    image = torch.randn(1, 3, 64, 96)
    view, other, inverse = model.forward_views(image, torch.zeros(1, 5),
                                               None)
    assert not other.aligned
    assert other.image.shape == (1, 3, 32, 48)
    assert inverse(other.cams).shape == view.cams.shape
