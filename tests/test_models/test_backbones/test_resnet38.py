import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.backbones import ResNet38


def build(**kwargs):
    torch.manual_seed(0)
    net = ResNet38(base_channels=4, **kwargs)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(m.running_mean, std=0.1)
            torch.nn.init.uniform_(m.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.bias, std=0.1)
    return net


def plain_forward(state, x):
    """conv3..conv6 of the names' layers, layer by layer."""

    def norm(name, x):
        mean, var, weight, bias = (
            state[f'{name}.{k}'] for k in ('running_mean', 'running_var',
                                           'weight', 'bias'))
        return F.batch_norm(x, mean, var, weight, bias).relu()

    def conv(name, x, dilation=1, stride=1):
        weight = state[f'{name}.weight']
        return F.conv2d(x, weight, None, stride,
                        dilation * (weight.shape[-1] // 2), dilation)

    def basic(name, x, stride=1, first=1, second=1):
        active = norm(f'{name}.bn_branch2a', x)
        out = conv(f'{name}.conv_branch2a', active, first, stride)
        out = norm(f'{name}.bn_branch2b1', out)
        out = conv(f'{name}.conv_branch2b1', out, second)
        if f'{name}.conv_branch1.weight' in state:
            x = conv(f'{name}.conv_branch1', active, stride=stride)
        return out + x, active

    def bottleneck(name, x):
        active = norm(f'{name}.bn_branch2a', x)
        out = conv(f'{name}.conv_branch2a', active)
        out = norm(f'{name}.bn_branch2b1', out)
        out = conv(f'{name}.conv_branch2b1', out, 4)
        out = norm(f'{name}.bn_branch2b2', out)
        out = conv(f'{name}.conv_branch2b2', out)
        return out + conv(f'{name}.conv_branch1', active), active

    x = conv('conv1a', x)
    for stage, more in (('b2', 2), ('b3', 2), ('b4', 5)):
        x, active = basic(stage, x, stride=2)
        conv3 = active
        for i in range(more):
            x, _ = basic(f'{stage}_{i + 1}', x)
    x, conv4 = basic('b5', x, first=1, second=2)
    x, _ = basic('b5_1', x, first=2, second=2)
    x, _ = basic('b5_2', x, first=2, second=2)
    x, conv5 = bottleneck('b6', x)
    x, _ = bottleneck('b7', x)
    return conv3, conv4, conv5, norm('bn7', x)


@pytest.mark.parametrize('size', [(17, 30), (1, 1), (64, 8)])
def test_forward(size):
    net = build(out_indices=(0, 1, 2, 3)).eval()
    x = torch.randn(2, 3, *size)
    outs = net(x)
    h, w = (-(-s // 8) for s in size)
    assert [o.shape[1] for o in outs] == [16, 32, 64, 256]
    assert all(o.shape[2:] == (h, w) for o in outs[1:])
    assert outs[0].shape[2:] == tuple(-(-s // 4) for s in size)
    for out, expected in zip(
            outs, plain_forward(net.state_dict(), x), strict=True):
        assert_close(out, expected)


def test_out_indices_choose():
    x = torch.randn(1, 3, 16, 16)
    every = build(out_indices=(0, 1, 2, 3)).eval()(x)
    chosen = build(out_indices=(3, 1)).eval()(x)
    assert len(chosen) == 2
    assert torch.equal(chosen[0], every[3])
    assert torch.equal(chosen[1], every[1])
    assert len(build()(x)) == 3


def test_what_is_trained():
    net = build().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD(
        [p for p in net.parameters() if p.requires_grad], lr=0.1)
    sum(out.mean() for out in net(torch.randn(2, 3, 16, 16))).backward()
    optimizer.step()
    for name, value in net.state_dict().items():
        moved = '.conv' in name and not name.startswith('b2')
        assert torch.equal(value, before[name]) != moved, name
    assert net.b6.dropout.training and not net.bn7.training
    assert {net.b6.dropout.p, net.b7.dropout.p} == {0.3, 0.5}


def test_dropout_acts_in_training_only():
    net, x = build(out_indices=(2, 3)).train(), torch.randn(1, 3, 16, 16)
    first, second = net(x), net(x)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    net.eval()
    assert torch.equal(net(x)[1], net(x)[1])


def test_frozen():
    net = build(frozen=())
    assert net.conv1a.weight.requires_grad
    assert not net.b3.bn_branch2a.weight.requires_grad
    net = build(frozen=('conv1a', 'b3'))
    assert not net.b3.conv_branch1.weight.requires_grad
    assert net.b2.conv_branch1.weight.requires_grad
    with pytest.raises(ValueError, match="no layer 'b9' .* b2, b2_1"):
        build(frozen=('b9', ))


@pytest.mark.parametrize('indices', [(), (4, ), (-1, )])
def test_wrong_out_indices(indices):
    with pytest.raises(ValueError, match='out_indices'):
        build(out_indices=indices)
