import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.heads import AffinityHead, DisplacementHead, EdgeHead
from mmwsss.models.heads.affinity_head import pair_affinity
from mmwsss.pseudo_labels.pixel_pairs import (
    pair_labels,
    pair_offsets,
    path_offsets,
)

FIVE = dict(in_channels=(3, 4, 5, 6, 7), strides=(4, 4, 8, 16, 16))


def five_maps(h=13, w=11, n=1):
    """Maps of a network with strides 4, 4, 8, 16, 16 that rounds up."""
    torch.manual_seed(0)
    return [
        torch.randn(n, c, -(-h // f), -(-w // f))
        for c, f in zip(FIVE['in_channels'], (1, 1, 2, 4, 4))
    ]


def test_affinity_of_every_pair():
    torch.manual_seed(0)
    maps = torch.randn(2, 4, 5, 8)
    offsets, radius = pair_offsets(3), 3
    affinity = pair_affinity(maps, offsets, radius)
    assert affinity.shape == (2, len(offsets), 3 * 4)
    for n in range(2):
        for p, (dy, dx) in enumerate(offsets.tolist()):
            for i, (y, x) in enumerate(
                (y, x) for y in range(3) for x in range(2, 6)):
                difference = maps[n, :, y, x] - maps[n, :, y + dy, x + dx]
                expected = torch.exp(-difference.abs().mean())
                assert float(affinity[n, p, i]) == pytest.approx(
                    float(expected), rel=1e-5)


def test_affinity_gradient():
    torch.manual_seed(0)
    maps = torch.randn(2, 4, 6, 9, requires_grad=True)
    offsets = pair_offsets(3)
    weights = torch.randn(2, len(offsets), 4 * 5)
    (pair_affinity(maps, offsets, 3) * weights).sum().backward()
    plain = maps.detach().clone().requires_grad_()
    source = plain[:, :, :4, 2:7]
    total = 0
    for p, (dy, dx) in enumerate(offsets.tolist()):
        target = plain[:, :, dy:4 + dy, 2 + dx:7 + dx]
        value = torch.exp(-(source - target).abs().mean(1)).flatten(1)
        total = total + (value * weights[:, p]).sum()
    total.backward()
    torch.testing.assert_close(maps.grad, plain.grad)


def test_affinity_head_on_maps_of_different_sizes():
    torch.manual_seed(0)
    head = AffinityHead((3, 4), (5, 6), radius=3)
    feats = [torch.randn(2, 3, 8, 10), torch.randn(2, 4, 4, 5)]
    small = F.elu(F.conv2d(feats[1], head.reduce[1].weight))
    maps = torch.cat((F.elu(F.conv2d(feats[0], head.reduce[0].weight)),
                      F.interpolate(
                          small,
                          size=(8, 10),
                          mode='bilinear',
                          align_corners=False)), 1)
    expected = F.elu(F.conv2d(maps, head.mix.weight))
    torch.testing.assert_close(head(feats), expected)
    assert not any('bias' in name for name, _ in head.named_parameters())
    # Equal numbers, laid out on the map.
    layout, offsets = head.dense_affinity(feats)
    assert layout.shape == (2, len(offsets), 8, 10)
    torch.testing.assert_close(layout[:, :, :6, 2:8].flatten(2),
                               head.affinity(feats))
    assert layout[:, :, 6:].abs().sum() == layout[..., 8:].abs().sum() == 0


def test_affinity_head_weights():
    torch.manual_seed(0)
    head = AffinityHead((512, ), (256, ))
    head.init_weights()
    # Kaiming: sqrt(2 / fan in). Xavier, gain 4: uniform within
    # 4 * sqrt(6 / (fan in + fan out)).
    assert float(head.reduce[0].weight.std()) == pytest.approx(
        (2 / 512)**0.5, rel=0.02)
    bound = 4 * (6 / (256 + 256))**0.5
    assert float(head.mix.weight.abs().max()) == pytest.approx(
        bound, rel=0.01)
    assert float(head.mix.weight.std()) == pytest.approx(
        bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize('size,pairs', [((6, 7), 4), ((1, 9), 0), ((2, 2), 0),
                                        ((10, 30), 22), ((11, 11), 34)])
def test_small_maps(size, pairs):
    torch.manual_seed(0)
    feats = [torch.randn(1, 3, *size)]
    head = AffinityHead((3, ), (4, ), shrink_radius=True)
    layout, offsets = head.dense_affinity(feats)
    assert layout.shape == (1, pairs, *size) and len(offsets) == pairs
    if pairs:
        loss = head.loss(feats, torch.zeros(1, *size, dtype=torch.int64))
        assert float(loss['loss_bg']) > 0


def test_affinity_head_errors():
    head = AffinityHead((3, ), (4, ))
    with pytest.raises(ValueError, match='6x7 cells .* radius 5'):
        head.affinity([torch.randn(1, 3, 6, 7)])
    with pytest.raises(ValueError, match='reads 1 feature maps.*gives 2'):
        head([torch.randn(1, 3, 12, 12)] * 2)
    with pytest.raises(ValueError, match=r'\(3, 3\) cells.*\(12, 12\)'):
        head.loss([torch.randn(1, 3, 12, 12)], torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match='equally long'):
        AffinityHead((3, 4), (4, ))


def test_edge_head_by_hand():
    head = EdgeHead(**FIVE, channels=4, num_groups=2)
    feats = five_maps()
    maps = []
    for branch, x, factor in zip(head.branches, feats, (1, 1, 2, 4, 4)):
        x = F.conv2d(x, branch[0].weight)
        x = F.group_norm(x, 2, branch[1].weight, branch[1].bias)
        if factor > 1:
            x = F.interpolate(
                x,
                size=[s * factor for s in x.shape[2:]],
                mode='bilinear',
                align_corners=False)
        maps.append(x.relu()[:, :, :13, :11])
    logit = F.conv2d(torch.cat(maps, 1), head.fuse.weight, head.fuse.bias)
    torch.testing.assert_close(head(feats), logit)
    assert logit.shape == (1, 1, 13, 11)


def test_displacement_head_takes_its_mean_off_in_evaluation():
    head = DisplacementHead(
        **FIVE, channels=(4, ) * 5, num_groups=(2, ) * 5)
    head.running_mean += torch.tensor([1., -2.])
    field = head(five_maps(n=2))
    assert field.shape == (2, 2, 13, 11)
    expected = field - torch.tensor([1., -2.]).view(1, 2, 1, 1)
    torch.testing.assert_close(head.eval()(five_maps(n=2)), expected)
    assert 'running_mean' in head.state_dict()


@pytest.mark.parametrize('size', [(16, 16), (17, 33), (1, 1)])
@pytest.mark.parametrize('cls', [EdgeHead, DisplacementHead])
def test_any_size(cls, size):
    options = dict(channels=4, num_groups=2) if cls is EdgeHead else dict(
        channels=(4, ) * 5, num_groups=(2, ) * 5)
    assert cls(**FIVE, **options)(five_maps(*size)).shape[2:] == size


def test_edge_and_displacement_losses():
    offsets = path_offsets(3)
    label = torch.zeros(1, 6, 9, dtype=torch.int64)
    label[..., 5:] = 1
    labels = pair_labels(label, 3, offsets)
    # A wall on the class boundary costs next to nothing, one inside does.
    wall = torch.full((1, 1, 6, 9), -20.)
    wall[..., 4:6] = 20
    wrong = wall.roll(3, -1)
    # Pairs that touch a wall cell count as cut, so only compare.
    good, bad = (
        sum(EdgeHead(**FIVE).loss(x, labels, 3).values())
        for x in (wall, wrong))
    assert float(good) < float(bad)
    # Foreground points at one centroid, background nowhere: no loss.
    y, x = np.mgrid[:6, :9]
    centroid = torch.from_numpy(np.stack((3 - y, 7 - x))[None]).float()
    field = torch.where(label[:, None] > 0, centroid, 0)
    head = DisplacementHead()
    assert float(sum(head.loss(field, *labels[:2], 3).values())) < 1e-5
    assert float(sum(head.loss(-field, *labels[:2], 3).values())) > 0.5


def test_wrong_number_of_maps():
    for head in (EdgeHead(), DisplacementHead()):
        with pytest.raises(ValueError, match='reads 5 .*ResNetWithStem'):
            head(five_maps()[1:])
