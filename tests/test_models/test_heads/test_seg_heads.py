"""Heads of DeepLabV1-LargeFOV and DeepLabV2."""
import pytest
import torch
import torch.nn.functional as F

from mmwsss.registry import MODELS


def build(kind, **kwargs):
    cfg = dict(type=f'mmwsss.{kind}', in_channels=6, num_classes=5, in_index=1)
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    return head


def features(h=7, w=9):
    torch.manual_seed(0)
    return [torch.zeros(2, 3, h, w), torch.randn(2, 6, h, w)]


def dilated(x, weight, bias, d):
    """A dilated 3 x 3 convolution written out."""
    h, w = x.shape[2:]
    x = F.pad(x, (d, d, d, d))
    out = 0
    for i in range(3):
        for j in range(3):
            shifted = x[..., i * d:i * d + h, j * d:j * d + w]
            out = out + torch.einsum('nchw,oc->nohw', shifted, weight[...,
                                                                      i, j])
    return out if bias is None else out + bias[:, None, None]


def test_deeplab_v2_is_a_sum_of_dilated_classifiers():
    head = build('DeepLabV2Head', dilations=(1, 2, 24))
    names = {n for n, _ in head.named_parameters()}
    assert names == {
        f'branches.{i}.{p}'
        for i in range(3) for p in ('weight', 'bias')
    }
    for branch in head.branches:
        branch.bias.data.normal_()
    x = features()
    expected = sum(
        dilated(x[1], b.weight, b.bias, d)
        for b, d in zip(head.branches, (1, 2, 24)))
    assert torch.allclose(head(x), expected, atol=1e-6)


def test_deeplab_v2_starts_small():
    torch.manual_seed(0)
    head = build('DeepLabV2Head', in_channels=64)
    assert [b.dilation for b in head.branches] == [(d, d)
                                                   for d in (6, 12, 18, 24)]
    weights = torch.cat([b.weight.detach().flatten() for b in head.branches])
    assert weights.std() == pytest.approx(0.01, rel=0.05)
    assert all((b.bias == 0).all() for b in head.branches)


def test_every_parameter_of_the_heads_learns():
    """Otherwise DDP stops."""
    for kind, more in (('DeepLabV2Head', {}),
                       ('LargeFOVHead', dict(norm_cfg=dict(type='BN')))):
        head = build(kind, **more)
        head(features()).square().sum().backward()
        assert all(p.grad is not None for p in head.parameters()), kind


def test_large_fov_written_out():
    head = build('LargeFOVHead', channels=4, dilation=3,
                 norm_cfg=dict(type='BN')).eval()
    layers = head.context, head.project
    for layer in layers:
        assert layer.conv.bias is None
        layer.bn.running_mean.normal_()
        layer.bn.running_var.uniform_(0.5, 2)
    x = features()[1]
    hidden = dilated(x, head.context.conv.weight, None, 3)
    for i, layer in enumerate(layers):
        if i:
            hidden = torch.einsum('nchw,oc->nohw', hidden,
                                  layer.conv.weight[..., 0, 0])
        mean, var = (s[:, None, None]
                     for s in (layer.bn.running_mean, layer.bn.running_var))
        hidden = ((hidden - mean) / (var + layer.bn.eps).sqrt()).clamp(min=0)
    expected = torch.einsum(
        'nchw,oc->nohw', hidden,
        head.conv_seg.weight[..., 0, 0]) + head.conv_seg.bias[:, None, None]
    assert torch.allclose(head(features()), expected, atol=1e-5)


def test_large_fov_drops_single_values():
    head = build('LargeFOVHead', channels=8, dropout_ratio=0.5)
    dropped = head.dropout(torch.ones(1, 8, 20, 20))
    share = (dropped == 0).float().mean(dim=(0, 2, 3))
    assert ((share > 0.35) & (share < 0.65)).all()  # In every channel.
    assert set(dropped.unique().tolist()) == {0., 2.}


def test_frozen_affine_of_batch_norm():
    head = build(
        'LargeFOVHead', channels=4, norm_cfg=dict(type='BN',
                                                  requires_grad=False))
    learnt = {n for n, p in head.named_parameters() if p.requires_grad}
    assert learnt == {
        'context.conv.weight', 'project.conv.weight', 'conv_seg.weight',
        'conv_seg.bias'
    }
    before = head.context.bn.running_mean.clone()
    head.train()(features())
    assert not torch.equal(before, head.context.bn.running_mean)


@pytest.mark.parametrize('size', [(1, 1), (1, 5), (3, 2)])
def test_tiny_maps(size):
    for kind in ('DeepLabV2Head', 'LargeFOVHead'):
        assert build(kind)(features(*size)).shape == (2, 5, *size)
