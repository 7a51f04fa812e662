"""Capped cross entropy against loops, and as a loss of mmseg's heads."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.losses import CappedCrossEntropy, capped_cross_entropy


def batch(n=3, classes=4, size=(11, 17), ignored=0.3, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, (n, *size))
    label[rng.random(label.shape) < ignored] = 255
    logits = torch.from_numpy(rng.normal(0, 3, (n, classes, *size))).float()
    return logits.requires_grad_(), torch.from_numpy(label)


def looped(logits, label, cell, start):
    """Caps pixel by pixel: (loss, gradient of the mean, capped pixels)."""
    each = {}
    for n, y, x in np.ndindex(*label.shape):
        if label[n, y, x] != 255:
            z = logits[n, :, y, x].detach().double()
            each[n, y, x] = float(z.exp().sum().log() - z[label[n, y, x]])
    mean = np.mean(list(each.values()))
    values = np.zeros(tuple(label.shape))
    grad = np.zeros(tuple(logits.shape))
    for (n, y, x), value in each.items():
        of_cell = [
            v for (_, j, i), v in each.items()
            if j // cell == y // cell and i // cell == x // cell
        ]
        cap = max(np.mean(of_cell), mean) if mean <= start else np.inf
        values[n, y, x] = min(value, cap)
        if value <= cap:
            grad[n, :, y, x] = logits[n, :, y, x].detach().softmax(0)
            grad[n, label[n, y, x], y, x] -= 1
    return values, grad / len(each), values.sum() / len(each)


@pytest.mark.parametrize('cell', [1, 4, 11, 100])
@pytest.mark.parametrize('start', [1., 9.])
def test_equals_loops(cell, start):
    logits, label = batch(ignored=0.3 if cell > 1 else 0.7)
    values, grad, mean = looped(logits, label, cell, start)
    plain = F.cross_entropy(logits, label, ignore_index=255).item()
    assert 1 < plain < 9
    assert (mean < 0.99 * plain) == (start == 9)
    loss = CappedCrossEntropy(cell, start)
    each = loss(logits, label, reduction_override='none')
    assert_close(each.double(), torch.from_numpy(values), rtol=1e-5,
                 atol=1e-6)
    value = loss(logits, label)
    assert value.item() == pytest.approx(mean, rel=1e-5)
    value.backward()
    assert_close(logits.grad.double(), torch.from_numpy(grad), rtol=1e-4,
                 atol=1e-7)


def test_cell_that_does_not_divide_the_image():
    logits, label = batch(n=1, classes=2, size=(473, 473), ignored=0.)
    label[:, 360:, 360:] = 0
    logits.data[:, 1, 360:, 360:] = logits.data[:, 0, 360:, 360:] + 5
    logits.data[:, 1, 400, 400] += 10
    logits = logits.detach()
    each = F.cross_entropy(logits, label, reduction='none')
    found = CappedCrossEntropy(120, 9.)(
        logits, label, reduction_override='none')
    # The last cell is 113 pixels wide.
    corner = each[:, 360:, 360:]
    assert_close(found[0, 400, 400], corner.mean())
    assert found[0, 400, 400] < each[0, 400, 400]


def test_ignored_pixels_change_nothing():
    logits, label = batch(ignored=0.)
    loss = CappedCrossEntropy(4, 9.)
    expected = loss(logits, label)
    wider = F.pad(logits, (0, 0, 0, 5), value=3.)
    assert_close(
        loss(wider, F.pad(label, (0, 0, 0, 5), value=255)), expected)
    assert_close(
        loss(logits, label.masked_fill(label == 1, 7), ignore_index=7),
        loss(logits, label.masked_fill(label == 1, 255)))


def test_everything_ignored():
    logits, label = batch()
    loss = CappedCrossEntropy()(logits, torch.full_like(label, 255))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_equal_losses_keep_their_gradient():
    logits = torch.zeros(2, 2, 230, 210, requires_grad=True)
    label = torch.zeros(2, 230, 210, dtype=torch.long)
    CappedCrossEntropy()(logits, label).backward()
    each = 0.5 / label.numel()
    assert_close(logits.grad[:, 1], torch.full(label.shape, each))


def test_weight_and_reductions():
    logits, label = batch()
    loss = CappedCrossEntropy(4, 9., loss_weight=2.)
    each = loss(logits, label, reduction_override='none')
    count = (label != 255).sum()
    weight = torch.rand(label.shape)
    assert_close(loss(logits, label, weight), (each * weight).sum() / count)
    assert_close(loss(logits, label, avg_factor=7), each.sum() / 7)
    assert_close(
        loss(logits, label, reduction_override='sum'), each.sum())
    with pytest.raises(ValueError, match="got 'max'"):
        loss(logits, label, reduction_override='max')


def test_half_precision_is_widened():
    logits, label = batch()
    loss = CappedCrossEntropy(4, 9.)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = loss(logits.bfloat16(), label)
    assert_close(found, loss(logits.bfloat16().float(), label))


def test_loss_of_a_decode_head():
    torch.manual_seed(0)
    head = MMSEG_MODELS.build(
        dict(
            type='FCNHead',
            num_convs=0,
            kernel_size=1,
            concat_input=False,
            in_channels=6,
            channels=6,
            dropout_ratio=0,
            num_classes=4,
            norm_cfg=dict(type='BN'),
            loss_decode=dict(
                type='mmwsss.CappedCrossEntropy', cell=4, start=9.)))
    optimizer = torch.optim.SGD(head.parameters(), lr=1.)
    feats = [torch.randn(3, 6, 11, 17)]
    _, label = batch()
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label
    ]
    losses = head.loss(feats, samples, {})
    expected = CappedCrossEntropy(4, 9.)(head(feats), label)
    assert_close(losses['loss_ce'], expected)
    losses['loss_ce'].backward()
    optimizer.step()
    assert head.loss(feats, samples, {})['loss_ce'] < expected


def test_sizes_must_agree_between_processes(monkeypatch):
    logits, label = batch()
    monkeypatch.setattr(capped_cross_entropy, 'get_world_size', lambda: 2)
    monkeypatch.setattr(capped_cross_entropy, 'all_gather',
                        lambda size: [size, size + 1])
    with pytest.raises(ValueError, match=r'\(11, 17\), \(12, 18\)'):
        CappedCrossEntropy()(logits, label)


@pytest.mark.parametrize('kwargs', [
    dict(cell=0), dict(cell=1.5), dict(start=0), dict(start=float('nan'))])
def test_refuses(kwargs):
    with pytest.raises(ValueError, match=f'needs .*{next(iter(kwargs))}'):
        CappedCrossEntropy(**kwargs)
