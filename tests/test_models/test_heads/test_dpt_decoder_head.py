import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.registry import MODELS

IN, WIDTH = (3, 4, 5, 7), 8


def build(**kwargs):
    torch.manual_seed(0)
    cfg = dict(
        type='mmwsss.DPTDecoderHead',
        in_channels=IN,
        channels=WIDTH,
        reduction=4,
        num_classes=6)
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.running_mean, module.weight.data,
                          module.bias.data):
                value.normal_()
            module.running_var.uniform_(0.5, 2)
    return head


def pyramid(h=2, w=3, n=2):
    torch.manual_seed(1)
    return [
        torch.randn(n, c, h * s, w * s) for c, s in zip(IN, (8, 4, 2, 1))
    ]


def enlarge(x):
    """Twice as large, corners on corners, with one matrix per axis."""

    def matrix(size):
        rows = torch.zeros(2 * size, size)
        for i in range(2 * size):
            place = i * (size - 1) / (2 * size - 1)
            low = min(int(place), size - 1)
            rows[i, low] += 1 - (place - low)
            rows[i, min(low + 1, size - 1)] += place - low
        return rows

    return matrix(x.shape[2]) @ x @ matrix(x.shape[3]).T


def plain_forward(head, maps):
    """GETAM's decoder, formula by formula."""
    state = head.state_dict()

    def conv(x, name, padding=1):
        return F.conv2d(
            x, state[f'{name}.weight'], state.get(f'{name}.bias'),
            padding=padding)

    def norm(x, name):
        mean, var, weight, bias = (
            state[f'{name}.{k}'][:, None, None]
            for k in ('running_mean', 'running_var', 'weight', 'bias'))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def unit(x, name):
        y = x
        for i in (1, 2):
            y = norm(
                conv(y.relu(), f'{name}.conv{i}.conv'), f'{name}.conv{i}.bn')
        return x + y

    y = None
    for level in (3, 2, 1, 0):
        layer = conv(maps[level], f'convs.{level}')
        name = f'fusions.{level}'
        y = layer if y is None else y + unit(layer, f'{name}.res_conv_unit1')
        y = conv(
            enlarge(unit(y, f'{name}.res_conv_unit2')),
            f'{name}.project.conv',
            padding=0)
    b = conv(
        conv(y, 'recalibration.body.0').relu(), 'recalibration.body.2')
    hidden = (b.mean((2, 3)) @ state['recalibration.gate.0.weight'].T).relu()
    g = (hidden @ state['recalibration.gate.2.weight'].T).sigmoid()
    y = b * g[:, :, None, None] + y
    y = norm(conv(y, 'project.conv'), 'project.bn').relu()
    return enlarge(conv(y, 'conv_seg', padding=0))


@torch.no_grad()
def test_written_out():
    head = build().eval()
    maps = pyramid()
    expected = plain_forward(head, maps)
    ours = head([m.clone() for m in maps])
    # From a quarter of the size to full size.
    assert ours.shape == (2, 6, 64, 96)
    assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


@torch.no_grad()
def test_inputs_are_left_alone():
    maps = pyramid()
    build().eval()(maps)
    assert all(torch.equal(a, b) for a, b in zip(maps, pyramid()))


@torch.no_grad()
def test_smallest_maps():
    """An image of 32 pixels leaves one position at the coarsest level."""
    logits = build().eval()(pyramid(1, 1))
    assert logits.shape == (2, 6, 32, 32) and logits.isfinite().all()


def test_every_parameter_learns():
    """Otherwise DDP stops."""
    head = build()
    head(pyramid()).square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_group_norm_knows_no_batch():
    head = build(norm_cfg=dict(type='GN', num_groups=4), dropout_ratio=0.)
    maps = pyramid()
    assert not any('running' in name for name in head.state_dict())
    both = head(maps)
    assert_close(both[:1], head([m[:1] for m in maps]), rtol=1e-4, atol=1e-5)


def test_drops_single_values():
    dropped = build(dropout_ratio=0.5).dropout(torch.ones(1, 8, 20, 20))
    share = (dropped == 0).float().mean(dim=(0, 2, 3))
    assert ((share > 0.35) & (share < 0.65)).all()  # In every channel.


def test_published_size():
    with torch.device('meta'):
        head = MODELS.build(
            dict(type='mmwsss.DPTDecoderHead', num_classes=21))
    assert head.in_channels == (96, 192, 384, 768)
    assert head.recalibration.gate[0].weight.shape == (16, 256)
    assert head.dropout.p == 0.1
    assert head.fusions[3].res_conv_unit1 is None
    assert head.align_corners
