import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.backbones.weight_std_resnet import (
    StdConv2dSame,
    WeightStdResNet,
    group_norm,
    max_pool_same,
    same_padding,
    standardize_weight,
)
from mmwsss.registry import MODELS


def plain_standardize(weight):
    mean = weight.mean(dim=(1, 2, 3), keepdim=True)
    var = ((weight - mean)**2).mean(dim=(1, 2, 3), keepdim=True)
    return (weight - mean) / (var.sqrt() + 1e-5)


def plain_pad(x, kernel, stride, value=0.):
    padding = []
    for size in (x.shape[3], x.shape[2]):
        out = (size + stride - 1) // stride
        total = max(0, (out - 1) * stride + kernel - size)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)


def plain_conv(x, weight, stride=1):
    x = plain_pad(x, weight.shape[-1], stride)
    return F.conv2d(x, plain_standardize(weight), stride=stride)


def plain_resnet(x, params, layers, strides):
    """The card of the network, written down without any class of ours."""

    def norm(x, name):
        weight = params[f'{name}.weight']
        return F.group_norm(x, min(32, len(weight)), weight,
                            params[f'{name}.bias'], 1e-5)

    x = norm(plain_conv(x, params['stem.conv.weight'], 2), 'stem.norm').relu()
    x = F.max_pool2d(plain_pad(x, 3, 2, float('-inf')), 3, 2)
    outs = []
    for i, (depth, stage_stride) in enumerate(zip(layers, strides)):
        for j in range(depth):
            name = f'stages.{i}.blocks.{j}'
            stride = stage_stride if j == 0 else 1
            shortcut = x
            if j == 0:
                shortcut = norm(
                    plain_conv(
                        x, params[f'{name}.downsample.conv.weight'], stride),
                    f'{name}.downsample.norm')
            for k, s in ((1, 1), (2, stride), (3, 1)):
                x = norm(
                    plain_conv(x, params[f'{name}.conv{k}.weight'], s),
                    f'{name}.norm{k}')
                if k < 3:
                    x = x.relu()
            x = (x + shortcut).relu()
        outs.append(x)
    return outs


def test_standardize_weight():
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 3, 2, dtype=torch.float64) * 0.01 + 0.3
    weight.requires_grad_()
    out = standardize_weight(weight)
    assert_close(out, plain_standardize(weight), rtol=1e-12, atol=1e-12)
    assert_close(out.mean((1, 2, 3)), torch.zeros(5).double())
    upstream = torch.randn_like(weight)
    ours, = torch.autograd.grad(out, weight, upstream)
    plain, = torch.autograd.grad(plain_standardize(weight), weight, upstream)
    assert_close(ours, plain, rtol=1e-9, atol=1e-9)
    torch.autograd.gradcheck(standardize_weight, weight)


@pytest.mark.parametrize('shape', [(2, 3, 3, 3), (4, 1, 1, 1)])
def test_constant_filters(shape):
    """No variance: zero weights and zero gradients, no NaN."""
    weight = torch.full(shape, 0.5, requires_grad=True)
    out = standardize_weight(weight)
    assert_close(out, torch.zeros(shape))
    out.sum().backward()
    assert torch.isfinite(weight.grad).all()


@pytest.mark.parametrize('size,kernel,stride,expected', [
    (8, 3, 2, (0, 1)),
    (7, 3, 2, (1, 1)),
    (8, 3, 1, (1, 1)),
    (8, 7, 2, (2, 3)),
    (7, 7, 2, (3, 3)),
    (8, 1, 2, (0, 0)),
    (1, 3, 2, (1, 1)),
    (2, 3, 2, (0, 1)),
])
def test_same_padding(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize('size', [(8, 8), (7, 8), (8, 5), (7, 9), (1, 1),
                                  (2, 1), (1, 40)])
@pytest.mark.parametrize('kernel,stride', [(1, 1), (1, 2), (3, 1), (3, 2),
                                           (7, 2), (7, 1)])
def test_conv(size, kernel, stride):
    torch.manual_seed(0)
    conv = StdConv2dSame(3, 4, kernel, stride).double()
    image = torch.randn(2, 3, *size).double().requires_grad_()
    out = conv(image)
    assert out.shape[2:] == tuple(-(-s // stride) for s in size)
    plain = plain_conv(image, conv.weight, stride)
    assert_close(out, plain, rtol=1e-9, atol=1e-9)
    upstream = torch.randn_like(out)
    inputs = (image, conv.weight)
    assert_close(
        torch.autograd.grad(out, inputs, upstream),
        torch.autograd.grad(plain, inputs, upstream),
        rtol=1e-8,
        atol=1e-8)


@pytest.mark.parametrize('height', range(1, 9))
@pytest.mark.parametrize('width', [1, 2, 5, 6])
def test_max_pool(height, width):
    """Negative maps show a zero that padding would have smuggled in."""
    torch.manual_seed(0)
    x = -torch.rand(2, 3, height, width) - 1
    plain = F.max_pool2d(plain_pad(x, 3, 2, float('-inf')), 3, 2)
    out = max_pool_same(x)
    assert out.shape == plain.shape
    assert torch.equal(out, plain)


def test_group_norm():
    assert group_norm(64).num_groups == 32
    assert group_norm(8).num_groups == 8
    with pytest.raises(ValueError, match='cannot split 48 channels'):
        group_norm(48)


@pytest.mark.parametrize('size', [(32, 48), (33, 47), (64, 30)])
def test_equals_plain_network(size):
    layers, strides = (1, 2), (1, 2)
    torch.manual_seed(0)
    net = WeightStdResNet(layers, (32, 64), stem_channels=32).double()
    for param in net.parameters():
        torch.nn.init.normal_(param, mean=0.1)
    params = dict(net.named_parameters())
    image = torch.randn(2, 3, *size).double()
    outs = net(image)
    plain = plain_resnet(image, params, layers, strides)
    assert len(outs) == 2
    for out, expected in zip(outs, plain):
        assert_close(out, expected, rtol=1e-8, atol=1e-8)
    ours = torch.autograd.grad(outs[-1].square().sum(), params.values())
    theirs = torch.autograd.grad(plain[-1].square().sum(), params.values())
    for name, a, b in zip(params, ours, theirs):
        assert_close(a, b, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: n + m)


def test_default_is_r50_stem():
    with torch.device('meta'):
        net = WeightStdResNet()
    assert net.out_stride == 16
    assert net.channels == (256, 512, 1024)
    assert [len(stage.blocks) for stage in net.stages] == [3, 4, 9]
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    # 1 stem, 16 blocks of 3, 3 shortcuts; conv weight, norm weight and bias.
    assert len(shapes) == 3 * (1 + 16 * 3 + 3)
    assert shapes['stem.conv.weight'] == (64, 3, 7, 7)
    assert shapes['stages.1.blocks.0.downsample.conv.weight'] == \
        (512, 256, 1, 1)
    assert shapes['stages.2.blocks.8.conv2.weight'] == (256, 256, 3, 3)


@pytest.mark.parametrize('kwargs,stride', [
    (dict(layers=(1, 1), channels=(16, 32)), 8),
    (dict(layers=(1, ), channels=(16, ), stem_pool=False), 2),
    (dict(layers=(1, 1), channels=(16, 32), strides=(2, 2),
          stem_stride=1, stem_pool=False), 4),
])
def test_strides(kwargs, stride):
    net = MODELS.build(
        dict(type='mmwsss.WeightStdResNet', stem_channels=8, **kwargs))
    assert net.out_stride == stride
    out = net(torch.randn(1, 3, 30, 17))[-1]
    assert out.shape == (1, net.channels[-1], -(-30 // stride),
                         -(-17 // stride))


@pytest.mark.parametrize('kwargs,message', [
    (dict(layers=(1, 1), channels=(16, )), 'one entry per stage'),
    (dict(layers=(), channels=()), 'one entry per stage'),
    (dict(layers=(1, 0), channels=(16, 32)), 'at least one block'),
    (dict(layers=(1, ), channels=(30, )), 'multiples of 4'),
    (dict(layers=(1, ), channels=(192, )), 'cannot split 48 channels'),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WeightStdResNet(**kwargs)
