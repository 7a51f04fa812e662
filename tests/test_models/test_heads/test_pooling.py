import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput


def hybrid(**kwargs):
    return MODELS.build(dict(type='mmwsss.HybridPooling', **kwargs))


def maxima(plane, level):
    """Maxima of all whole windows of a plane, window by window."""
    h, w = plane.shape
    kh, kw = max(h // level, 1), max(w // level, 1)
    return [
        float(plane[y:y + kh, x:x + kw].max())
        for y in range(0, h - kh + 1, kh) for x in range(0, w - kw + 1, kw)
    ]


def looped(x, gamma, levels):
    pooled = torch.zeros(x.shape[:2])
    for n, image in enumerate(x):
        for c, plane in enumerate(image):
            value = gamma * float(plane.sum()) / plane.numel()
            for level in levels:
                found = maxima(plane, level)
                value += sum(found) / len(found)
            pooled[n, c] = value / (gamma + len(levels))
    return pooled


@pytest.mark.parametrize(
    'size', [(8, 8), (4, 4), (7, 9), (5, 6), (32, 31), (3, 2), (1, 1), (1, 9),
             (3, 11)])
@pytest.mark.parametrize('gamma, levels', [(2., (1, 2, 4)), (0.5, (1, )),
                                           (0., (3, 2))])
def test_hybrid_pooling(size, gamma, levels):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    pooled = hybrid(gamma=gamma, levels=levels)(x)
    assert pooled.shape == (2, 3)
    assert_close(pooled, looped(x, gamma, levels), rtol=1e-5, atol=1e-6)


def test_windows_are_not_adaptive():
    # 7 rows and level 4: windows of one row each, so seven of them.
    assert len(maxima(torch.zeros(7, 4), 4)) == 7 * 4
    # 5 rows and level 2: two windows of two rows; the fifth is left out.
    x = torch.zeros(1, 1, 5, 2)
    x[..., 4, :] = 100
    grid = hybrid(gamma=0, levels=(2, ))
    assert grid(x) == 0
    assert hybrid(gamma=0, levels=(1, ))(x) == 100


def test_constant_maps_keep_their_value():
    x = torch.full((1, 2, 6, 5), 3.)
    assert_close(hybrid()(x), torch.full((1, 2), 3.))


def test_gradient_is_that_of_the_average_and_of_the_maxima():
    x = torch.arange(16.).view(1, 1, 4, 4).requires_grad_()
    hybrid(gamma=2, levels=(1, 2))(x).backward()
    # gamma / 16 everywhere, a quarter at each window's last cell, one more
    # at the largest of all.
    expected = torch.full((4, 4), 2 / 16)
    expected[1::2, 1::2] += 1 / 4
    expected[3, 3] += 1
    assert_close(x.grad[0, 0], expected / 4)


@pytest.mark.parametrize('kwargs, match', [
    (dict(gamma=-1), 'gamma >= 0'),
    (dict(levels=()), 'at least 1'),
    (dict(levels=(1, 0)), 'at least 1'),
    (dict(levels=(1.5, )), 'integers'),
])
def test_hybrid_pooling_refuses(kwargs, match):
    with pytest.raises(ValueError, match=match):
        hybrid(**kwargs)


def head(pooling='mmwsss.HybridPooling', **kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmwsss.CAMHead',
            num_classes=3,
            in_channels=4,
            pooling=dict(type=pooling),
            **kwargs))


def test_head_pools_features_before_the_classifier():
    cam_head = head().eval()
    feats = torch.randn(2, 4, 6, 7)
    # Without a provider of CAMs: the logits do not ask for them.
    view = ViewOutput(
        torch.zeros(2, 3, 8, 8), fields=dict(feats=(feats, )))
    weight = cam_head.conv.weight[:, :, 0, 0]
    logits = cam_head(view)
    assert_close(logits, looped(feats, 2., (1, 2, 4)) @ weight.T)
    maps = cam_head.cams(view)
    assert_close(maps, torch.einsum('kc,nchw->nkhw', weight, feats))
    # Pooled CAMs would be something else.
    assert (hybrid()(maps) - logits).abs().max() > 1e-2


def test_dropout_comes_before_the_pooling():
    cam_head = head(dropout_ratio=0.5)
    feats = torch.rand(64, 4, 6, 6) + 1
    view = ViewOutput(torch.zeros(64, 3, 8, 8), fields=dict(feats=(feats, )))
    cam_head.conv.weight.data.fill_(1.)
    torch.manual_seed(1)
    dropped = cam_head.dropout(feats)
    assert (dropped.flatten(2).amax(dim=2) == 0).any()
    torch.manual_seed(1)
    expected = looped(dropped, 2., (1, 2, 4)).sum(dim=1)
    assert_close(cam_head(view)[:, 0], expected)


def test_features_are_not_pooled_at_image_size():
    with pytest.raises(ValueError, match='HybridPooling pools features'):
        head(pool_at_image_size=True)
    head('mmwsss.GlobalAveragePooling', pool_at_image_size=True)


def test_mixed_precision():
    feats = torch.rand(2, 4, 8, 8)
    view = ViewOutput(torch.zeros(2, 3, 8, 8), fields=dict(feats=(feats, )))
    full = head()(view)
    with torch.autocast('cpu', torch.bfloat16):
        half = head()(
            ViewOutput(
                torch.zeros(2, 3, 8, 8),
                fields=dict(feats=(feats.bfloat16(), ))))
    assert_close(half.float(), full, rtol=5e-2, atol=2e-2)


# ------------------------------------------------------------- thresholded
def thresholded(**kwargs):
    return MODELS.build(
        dict(type='mmwsss.ThresholdedAveragePooling', **kwargs))


@pytest.mark.parametrize('threshold', [0., 0.1, 0.7])
@pytest.mark.parametrize('size', [(5, 6), (1, 1), (1, 4)])
def test_thresholded_average_pooling(threshold, size):
    torch.manual_seed(0)
    x = torch.randn(3, 4, *size).relu()
    x[1] = torch.randn(4, *size)  # below zero as well
    x[0, 0] = 0
    x[2, 1] = 2.
    pooled = thresholded(threshold=threshold)(x)
    for n in range(3):
        for c in range(4):
            values = x[n, c].flatten().tolist()
            kept = [v for v in values if v > threshold * max(values)]
            count = max(sum(v > 0 for v in kept), 1)
            assert float(pooled[n, c]) == pytest.approx(
                sum(kept) / count, abs=1e-6)
    assert pooled[0, 0] == 0
    assert pooled[2, 1] == 2


def test_threshold_gets_no_gradient():
    x = torch.tensor([0.05, 0.5, 0.1, 1.]).view(1, 1, 2, 2).requires_grad_()
    thresholded()(x).sum().backward()  # 0.1 is not above 0.1 * 1
    assert x.grad.flatten().tolist() == [0, 0.5, 0, 0.5]


def test_thresholded_pooling_of_half_precision_does_not_overflow():
    x = torch.full((1, 1, 64, 64), 100., dtype=torch.float16)
    assert thresholded()(x) == 100


def test_thresholded_pooling_is_of_features():
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type='mmwsss.CAMHead', num_classes=3, in_channels=4,
            pooling=dict(type='mmwsss.ThresholdedAveragePooling')))
    x = torch.rand(2, 4, 5, 5)
    view = ViewOutput(torch.zeros(2, 3, 8, 8), fields=dict(feats=(x, )),
                      providers=dict(cams=head.cams))
    assert_close(head(view), thresholded()(x) @ head.conv.weight[..., 0, 0].T)
    assert_close(view.cams, torch.nn.functional.conv2d(x, head.conv.weight))


@pytest.mark.parametrize('threshold', [-0.1, 1.])
def test_thresholded_pooling_refuses(threshold):
    with pytest.raises(ValueError, match=r'\[0, 1\)'):
        thresholded(threshold=threshold)


# -------------------------------------------------------------------- rank
def ranked(**kwargs):
    return MODELS.build(
        dict(type='mmwsss.GlobalWeightedRankPooling', **kwargs))


def by_rank(plane, decay):
    """Value and weight of each rank, one after the other."""
    total = weights = 0.
    for j, value in enumerate(sorted(plane.flatten().tolist())[::-1]):
        total += decay**j * value
        weights += decay**j
    return total / weights


@pytest.mark.parametrize('size', [(5, 6), (1, 1), (1, 7), (30, 31)])
@pytest.mark.parametrize('decay', [0., 0.5, 0.99, 1.])
def test_global_weighted_rank_pooling(size, decay):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, *size)
    pooled = ranked(decay=decay)(maps)
    assert pooled.shape == (2, 3)
    expected = [[by_rank(plane, decay) for plane in image] for image in maps]
    assert_close(pooled, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_rank_pooling_between_maximum_and_average():
    maps = torch.randn(2, 3, 4, 5, generator=torch.manual_seed(0))
    assert_close(ranked(decay=0.)(maps), maps.amax(dim=(2, 3)))
    assert_close(ranked(decay=1.)(maps), maps.mean(dim=(2, 3)))
    assert ranked().decay == 0.99 and ranked().num_positions is None


def test_gradient_of_rank_pooling_is_the_weight_of_the_rank():
    maps = torch.tensor([1., 4., 3., 2.]).view(1, 1, 2, 2).requires_grad_()
    ranked(decay=0.5)(maps).backward()
    assert_close(maps.grad.flatten(), torch.tensor([1., 8., 4., 2.]) / 15)


def test_decay_is_stated_at_a_number_of_positions():
    maps = torch.randn(1, 2, 6, 8, generator=torch.manual_seed(0))
    stated = ranked(decay=0.9, num_positions=12)
    found = stated(maps)
    assert_close(
        found[0],
        torch.tensor([by_rank(plane, 0.9**(12 / 48)) for plane in maps[0]]))
    # At that number it is the decay itself,
    small = maps[..., :3, :4]
    assert_close(stated(small), ranked(decay=0.9)(small))
    # and a map in which each value stands four times has about one score.
    again = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert_close(stated(again), stated(small), rtol=0, atol=0.05)
    plain = ranked(decay=0.9)
    assert (plain(again) - plain(small)).abs().min() > 0.2


def test_rank_pooling_of_half_precision():
    maps = torch.randn(2, 3, 40, 40, generator=torch.manual_seed(0)) * 50
    for dtype in (torch.float16, torch.bfloat16):
        rounded = maps.to(dtype)
        with torch.autocast('cpu', torch.bfloat16):
            pooled = ranked()(rounded)
        assert pooled.dtype == torch.float32
        assert_close(pooled, ranked()(rounded.float()), rtol=0, atol=0)


@pytest.mark.parametrize('at_image_size', [False, True])
def test_rank_pooling_is_of_class_maps(at_image_size):
    cam_head = head(
        'mmwsss.GlobalWeightedRankPooling',
        pool_at_image_size=at_image_size,
        bias=True)
    cam_head.conv.bias.data = torch.tensor([1., 2., 3.])
    feats = torch.rand(2, 4, 5, 5)
    view = ViewOutput(
        torch.zeros(2, 3, 8, 9),
        fields=dict(feats=(feats, )),
        providers=dict(cams=cam_head.cams))
    maps = torch.einsum('kc,nchw->nkhw', cam_head.conv.weight[..., 0, 0],
                        feats)
    if at_image_size:
        maps = torch.nn.functional.interpolate(
            maps, size=(8, 9), mode='bilinear', align_corners=True)
    expected = ranked()(maps) + cam_head.conv.bias
    assert_close(cam_head(view), expected)


@pytest.mark.parametrize('kwargs, match', [
    (dict(decay=-0.1), r'\[0, 1\]'),
    (dict(decay=1.1), r'\[0, 1\]'),
    (dict(num_positions=0), 'num_positions >= 1'),
])
def test_rank_pooling_refuses(kwargs, match):
    with pytest.raises(ValueError, match=match):
        ranked(**kwargs)


@pytest.mark.parametrize('pooling', [
    dict(type='mmwsss.GlobalAveragePooling'),
    dict(type='mmwsss.GlobalWeightedRankPooling', decay=0.8),
    dict(type='mmwsss.GlobalWeightedRankPooling', decay=0.),
    dict(type='mmwsss.GlobalWeightedRankPooling', decay=1.),
    dict(
        type='mmwsss.GlobalWeightedRankPooling', decay=0.8, num_positions=9),
    dict(type='mmwsss.TopSharePooling', share=0.3),
    dict(type='mmwsss.TopSharePooling', share=1.),
    dict(type='mmwsss.LogSumExpPooling', sharpness=3.)
])
@pytest.mark.parametrize('fill', [0., -1e4, 1e4])
def test_padding_is_not_pooled(pooling, fill):
    """Whatever stands in it."""
    torch.manual_seed(0)
    pool = MODELS.build(pooling)
    assert pool.takes_valid
    sizes = [(4, 5), (2, 3), (1, 1), (4, 2)]
    maps = torch.full((4, 3, 4, 5), fill, dtype=torch.float64)
    valid = torch.zeros(4, 1, 4, 5, dtype=torch.bool)
    expected = []
    for n, (height, width) in enumerate(sizes):
        own = torch.randn(1, 3, height, width, dtype=torch.float64)
        maps[n, :, :height, :width] = own
        valid[n, :, :height, :width] = True
        expected.append(pool(own))
    maps.requires_grad_()
    pooled = pool(maps, valid)
    assert_close(pooled, torch.cat(expected))
    pooled.sum().backward()
    assert not maps.grad[(~valid).expand_as(maps)].any()
    assert_close(maps.grad.sum(dim=(2, 3)), torch.ones(4, 3).double())
    # Nothing padded: the same as without.
    whole = torch.ones(1, 1, 4, 5, dtype=torch.bool)
    assert_close(pool(maps[:1], whole), pool(maps[:1]))


# --------------------------------------------------- top share, log-sum-exp
def pool_of(name, **kwargs):
    return MODELS.build(dict(type=f'mmwsss.{name}', **kwargs))


@pytest.mark.parametrize('share, count', [(0.01, 1), (0.2, 6), (0.25, 8),
                                          (1., 30)])
def test_top_share_pooling(share, count):
    maps = torch.randn(2, 3, 5, 6, generator=torch.manual_seed(0))
    pooled = pool_of('TopSharePooling', share=share)(maps)
    expected = [[
        sum(sorted(plane.flatten().tolist())[-count:]) / count
        for plane in image
    ] for image in maps]
    assert_close(pooled, torch.tensor(expected))


@pytest.mark.parametrize('sharpness', [0.5, 4.])
def test_log_sum_exp_pooling(sharpness):
    maps = torch.randn(2, 3, 5, 6, generator=torch.manual_seed(0))
    pooled = pool_of('LogSumExpPooling', sharpness=sharpness)(maps)
    expected = [[
        math.log(
            sum(math.exp(sharpness * v) for v in plane.flatten().tolist()) /
            30) / sharpness for plane in image
    ] for image in maps]
    assert_close(pooled, torch.tensor(expected))


def test_log_sum_exp_between_average_and_maximum():
    maps = torch.randn(2, 3, 4, 5, generator=torch.manual_seed(0))
    nearly_mean, nearly_max = (
        pool_of('LogSumExpPooling', sharpness=r)(maps) for r in (1e-3, 1e3))
    assert_close(nearly_mean, maps.mean(dim=(2, 3)), rtol=0, atol=1e-2)
    assert_close(nearly_max, maps.amax(dim=(2, 3)), rtol=0, atol=1e-2)
    # exp(1e3 * 3) would not fit.
    assert nearly_max.isfinite().all()


@pytest.mark.parametrize('name', ['TopSharePooling', 'LogSumExpPooling'])
def test_pooling_of_half_precision(name):
    maps = torch.randn(2, 3, 40, 40, generator=torch.manual_seed(0)) * 50
    rounded = maps.half()
    pooled = pool_of(name)(rounded)
    assert pooled.dtype == torch.float32
    assert_close(pooled, pool_of(name)(rounded.float()), rtol=0, atol=0)


@pytest.mark.parametrize('name, kwargs, match', [
    ('TopSharePooling', dict(share=0.), r'\(0, 1\]'),
    ('TopSharePooling', dict(share=1.1), r'\(0, 1\]'),
    ('LogSumExpPooling', dict(sharpness=0.), 'sharpness > 0'),
])
def test_top_share_and_log_sum_exp_refuse(name, kwargs, match):
    with pytest.raises(ValueError, match=match):
        pool_of(name, **kwargs)
