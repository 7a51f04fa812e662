"""Ten steps of SEAM's training against a plain training script.

The reference is written from the method alone, with the terms and settings of
the authors' script: a narrow ResNet-38 whose classifier has an output for the
background as well, two views one after the other, all 20 classes in every
map, SGD as that script really sets it. It shares no code with the package.
"""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ..small_models import load
from .trajectory import (
    FEW,
    OTHER,
    SAME,
    STEPS,
    ChannelDraws,
    batches,
    check_moved,
    normalised,
    run,
    scaled,
    soft_margin,
    start,
    steps_of,
    worst,
)

SIZE, BASE = 64, 2
CONV4, CONV5, CONV6 = 8 * BASE, 16 * BASE, 64 * BASE
F4, F5, QUERY = 6, 8, 12
FROZEN = ('conv1a', 'b2', 'b2_1', 'b2_2')


# ------------------------------------------------------------ the network
def conv(a, b, kernel, stride=1, dilation=1):
    return nn.Conv2d(
        a, b, kernel, stride, dilation * (kernel // 2), dilation, bias=False)


class Basic(nn.Module):

    def __init__(self, a, m, b, stride=1, dilation1=1, dilation2=1):
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(a)
        self.conv_branch2a = conv(a, m, 3, stride, dilation1)
        self.bn_branch2b1 = nn.BatchNorm2d(m)
        self.conv_branch2b1 = conv(m, b, 3, 1, dilation2)
        self.same = a == b and stride == 1
        if not self.same:
            self.conv_branch1 = conv(a, b, 1, stride)

    def forward(self, x):
        active = F.relu(self.bn_branch2a(x))
        y = self.conv_branch2a(active)
        y = self.conv_branch2b1(F.relu(self.bn_branch2b1(y)))
        return y + (x if self.same else self.conv_branch1(active)), active


class Wide(nn.Module):

    def __init__(self, a, b, dropout):
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(a)
        self.conv_branch2a = conv(a, b // 4, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(b // 4)
        self.conv_branch2b1 = conv(b // 4, b // 2, 3, 1, 4)
        self.bn_branch2b2 = nn.BatchNorm2d(b // 2)
        self.conv_branch2b2 = conv(b // 2, b, 1)
        self.conv_branch1 = conv(a, b, 1)
        self.dropout = dropout

    def forward(self, x, drop):
        active = F.relu(self.bn_branch2a(x))
        y = F.relu(self.bn_branch2b1(self.conv_branch2a(active)))
        y = self.conv_branch2b1(drop(y, self.dropout))
        y = F.relu(self.bn_branch2b2(y))
        y = self.conv_branch2b2(drop(y, self.dropout))
        return y + self.conv_branch1(active), active


class Net(nn.Module):

    def __init__(self):
        super().__init__()
        c = BASE
        self.conv1a = conv(3, c, 3)
        self.b2, self.b2_1, self.b2_2 = (Basic(c, 2 * c, 2 * c, 2),
                                         Basic(2 * c, 2 * c, 2 * c),
                                         Basic(2 * c, 2 * c, 2 * c))
        self.b3, self.b3_1, self.b3_2 = (Basic(2 * c, 4 * c, 4 * c, 2),
                                         Basic(4 * c, 4 * c, 4 * c),
                                         Basic(4 * c, 4 * c, 4 * c))
        self.b4 = Basic(4 * c, 8 * c, 8 * c, 2)
        for i in range(1, 6):
            setattr(self, f'b4_{i}', Basic(8 * c, 8 * c, 8 * c))
        self.b5 = Basic(8 * c, 8 * c, 16 * c, 1, 1, 2)
        self.b5_1 = Basic(16 * c, 8 * c, 16 * c, 1, 2, 2)
        self.b5_2 = Basic(16 * c, 8 * c, 16 * c, 1, 2, 2)
        self.b6 = Wide(16 * c, 32 * c, 0.3)
        self.b7 = Wide(32 * c, 64 * c, 0.5)
        self.bn7 = nn.BatchNorm2d(64 * c)
        self.fc8 = conv(CONV6, 21, 1)
        self.f8_3 = conv(CONV4, F4, 1)
        self.f8_4 = conv(CONV5, F5, 1)
        self.f9 = conv(3 + F4 + F5, QUERY, 1)

    def forward(self, image, drop, detach_taps=True, detach_pcm=True):
        """Raw and refined CAMs (N, 21, H, W), the background first."""
        x = self.conv1a(image)
        for name in ('b2', 'b2_1', 'b2_2', 'b3', 'b3_1', 'b3_2', 'b4', 'b4_1',
                     'b4_2', 'b4_3', 'b4_4', 'b4_5'):
            x, _ = getattr(self, name)(x)
        x, conv4 = self.b5(x)
        x, _ = self.b5_1(x)
        x, _ = self.b5_2(x)
        x, conv5 = self.b6(x, drop)
        x, _ = self.b7(x, drop)
        conv6 = F.relu(self.bn7(x))
        cam = self.fc8(drop(conv6, 0.5))
        n, _, h, w = cam.shape

        p = F.relu(cam.detach() if detach_pcm else cam)
        top = p.flatten(2).max(dim=2)[0].view(n, 21, 1, 1) + 1e-5
        p = F.relu(p - 1e-5) / top
        strongest = p[:, 1:].max(dim=1, keepdim=True)[0]
        classes = torch.where(p[:, 1:] < strongest, 0., p[:, 1:])
        p = torch.cat((1 - strongest, classes), dim=1).flatten(2)

        if detach_taps:
            conv4, conv5 = conv4.detach(), conv5.detach()
        f = self.f9(
            torch.cat((resize(image, (h, w)), F.relu(self.f8_3(conv4)),
                       F.relu(self.f8_4(conv5))), dim=1)).flatten(2)
        f = f / (torch.norm(f, dim=1, keepdim=True) + 1e-5)
        s = F.relu(f.transpose(1, 2) @ f)
        s = s / (s.sum(dim=1, keepdim=True) + 1e-5)
        refined = (p @ s).view(n, 21, h, w)
        size = image.shape[2:]
        return resize(cam, size), resize(refined, size)


def resize(x, size):
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


def state(net):
    """In our names; ours has no output for the background."""
    names = {
        'fc8': 'cls_head.conv',
        'f8_3': 'refiner.projections.0',
        'f8_4': 'refiner.projections.1',
        'f9': 'refiner.query'
    }
    out = {}
    for key, value in net.state_dict().items():
        layer, rest = key.split('.', 1)
        value = value[1:] if layer == 'fc8' else value
        out[f'{names.get(layer, f"backbone.{layer}")}.{rest}'] = value.clone()
    return out


# ----------------------------------------------------------- the training
def minmax(maps):
    n, c, h, w = maps.shape
    maps = F.relu(maps)
    high = maps.flatten(2).max(dim=2)[0].view(n, c, 1, 1)
    low = maps.flatten(2).min(dim=2)[0].view(n, c, 1, 1)
    return F.relu(maps - low - 1e-5) / (high - low + 1e-5)


def least_active(refined, labels):
    strongest = (refined * labels)[:, 1:].max(dim=1)[0].flatten(1)
    count = strongest.shape[1] // 4
    lowest = strongest.sort(dim=1)[0][:, :count]
    return F.relu(lowest).sum() / (count * len(lowest))


def winners(maps):
    classes = maps[:, 1:]
    best = classes.max(dim=1, keepdim=True)[0]
    classes = torch.where(classes == best, classes, 0.)
    return torch.cat((maps[:, :1], classes), dim=1)


def background(maps):
    return torch.cat((1 - maps[:, 1:].max(dim=1, keepdim=True)[0],
                      maps[:, 1:]), dim=1)


def hardest(errors, share):
    errors = errors.flatten(1).sort(dim=1, descending=True)[0]
    return errors[:, :int(errors.shape[1] * share)].mean(dim=1).mean()


def reference(data,
              steps=STEPS,
              lr=0.01,
              head_factor=10.,
              momentum=5e-4,
              decay=5e-4,
              power=0.9,
              cls=0.5,
              er=1.,
              ecr=1.,
              rvmin=0.5,
              share=0.2,
              shrink_last=True,
              detach_target=True,
              dropout=True,
              frozen=FROZEN,
              **forward):
    """States of a plain training; each argument changes one thing."""
    net = start(Net(), 1.4)
    states = [state(net)]
    # Always the statistics it came with.
    net.eval()
    for name, param in net.named_parameters():
        layer = name.split('.')[0]
        param.requires_grad_('bn' not in name and layer not in frozen)
    heads = [net.fc8.weight, net.f8_3.weight, net.f8_4.weight, net.f9.weight]
    others = [
        p for p in net.parameters()
        if p.requires_grad and not any(p is h for h in heads)
    ]
    optimizer = torch.optim.SGD(
        [dict(params=others), dict(params=heads, lr=lr * head_factor)],
        lr=lr, momentum=momentum, weight_decay=decay)
    draws = ChannelDraws()

    def drop(x, p):
        return draws(x, p, training=dropout)

    for batch in steps_of(optimizer, data, power, steps):
        image1 = normalised(batch.images)
        small = (int(0.3 * SIZE), ) * 2
        image2 = resize(image1, small)
        labels = batch.labels
        given = F.pad(labels, (1, 0), value=1.)[..., None, None]
        cam1, refined1 = net(image1, drop, **forward)
        cam2, refined2 = net(image2, drop, **forward)

        loss_cls = sum(
            soft_margin(cam.mean(dim=(2, 3))[:, 1:], labels)
            for cam in (cam1, cam2))
        loss_rvmin = sum(least_active(r, given) for r in (refined1, refined2))

        def shrunk(maps):
            if shrink_last:
                return resize(minmax(maps), small) * given
            return minmax(resize(maps, small)) * given

        c1, r1 = shrunk(cam1), shrunk(refined1)
        c2, r2 = minmax(cam2) * given, minmax(refined2) * given
        loss_er = (c1[:, 1:] - c2[:, 1:]).abs().mean()
        c1, c2 = background(c1), background(c2)
        if detach_target:
            c1, c2 = c1.detach(), c2.detach()
        loss_ecr = hardest((winners(c2) - r1).abs(), share) + hardest(
            (winners(c1) - r2).abs(), share)
        loss = (cls * loss_cls + er * loss_er + ecr * loss_ecr +
                rvmin * loss_rvmin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        states.append(state(net))
    return states


@pytest.fixture(scope='module')
def data():
    return batches(SIZE)


@pytest.fixture(scope='module')
def ours(data, tmp_path_factory):
    """States of the paper's config with a narrow network."""
    cfg = scaled(load('seam/seam_resnet38_voc'))
    cfg.model.backbone.base_channels = BASE
    cfg.model.cls_head.in_channels = CONV6
    cfg.model.refiner.update(
        in_channels=(CONV4, CONV5), channels=(F4, F5), query_channels=QUERY)
    return run(cfg, state(start(Net(), 1.4)), data,
               tmp_path_factory.mktemp('seam'))


def test_every_weight_follows(data, ours):
    error, step, name = worst(ours, reference(data))
    assert error < SAME, f'step {step}: {name} differs by {error}'
    check_moved(
        ours,
        still={
            name
            for name in ours[0] if '.bn' in name or name.startswith(
                tuple(f'backbone.{layer}.' for layer in FROZEN))
        })


@pytest.mark.parametrize('change', [
    dict(lr=0.001),
    dict(head_factor=1.),
    dict(momentum=0.),
    dict(momentum=0.9),
    dict(decay=0.),
    dict(power=1.),
    dict(cls=1.),
    dict(er=0.9),
    dict(ecr=0.9),
    dict(rvmin=0.),
    dict(share=1.),
    dict(shrink_last=False),
    dict(detach_target=False),
    dict(detach_taps=False),
    dict(detach_pcm=False),
    dict(dropout=False),
    dict(frozen=FROZEN[:3]),
], ids=str)
def test_another_training_is_told_apart(data, ours, change):
    other = reference(data, FEW, **change)
    assert worst(ours[:FEW + 1], other)[0] > OTHER
