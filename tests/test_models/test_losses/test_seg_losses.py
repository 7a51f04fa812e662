"""The losses of segmentation logits, against their plain formulas."""
import math

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from mmwsss.models.losses import (
    BalancedCrossEntropy,
    CappedCrossEntropy,
    DenseEnergyLoss,
    SaliencyLoss,
)
from mmwsss.models.losses.dense_energy_loss import (
    _Energy,
    exact_filter,
    lattice_filter,
)
from mmwsss.registry import MODELS


def batch(n=2, size=(6, 8), classes=3, seed=0):
    """Logits, labels with 255, image, valid, saliency of 0, 1 and 255."""
    rng = np.random.default_rng(seed)
    image = np.repeat(
        np.repeat(rng.integers(0, 256, (n, 3, 2, 2)), size[0] // 2, 2),
        size[1] // 2, 3) + rng.integers(-9, 10, (n, 3, *size))
    valid = np.ones((n, *size), bool)
    valid[0, :, -2:] = False
    logits = rng.normal(0, 1, (n, classes + 1, *size))
    return (torch.from_numpy(logits).float(),
            torch.from_numpy(rng.choice([0, 1, classes, 255], (n, *size))),
            dict(
                image=torch.from_numpy(image.clip(0, 255)).float(),
                valid=torch.from_numpy(valid),
                saliency=torch.from_numpy(
                    rng.choice([0., 1., 255.], (n, *size)))))


def test_built_from_configs():
    for name in ('BalancedCrossEntropy', 'CappedCrossEntropy',
                 'SaliencyLoss', 'DenseEnergyLoss'):
        one = MODELS.build(dict(type=f'mmwsss.{name}'))
        other = MODELS.build(
            dict(type=f'mmwsss.{name}', loss_weight=3 * one.loss_weight))
        logits, labels, rest = batch()
        value = one(logits, labels, **rest)
        assert value.shape == () and float(value) != 0
        assert_close(other(logits, labels, **rest), 3 * value)


# ------------------------------------------------------------- cross entropy
def test_cross_entropy_balances():
    logits, labels, rest = batch()
    each = dict(bg=[], fg=[])
    for n, y, x in np.ndindex(*labels.shape):
        label = int(labels[n, y, x])
        if label != 255:
            z = logits[n, :, y, x]
            each['fg' if label else 'bg'].append(
                float(z.exp().sum().log() - z[label]))
    assert len(each['bg']) != len(each['fg'])
    assert float(BalancedCrossEntropy()(logits, labels, **rest)) == \
        pytest.approx(sum(map(np.mean, each.values())), rel=1e-5)


@pytest.mark.parametrize('only', [0, 2, 255])
def test_cross_entropy_of_empty_sets(only):
    logits, labels, rest = batch()
    labels = torch.full_like(labels, only)
    labels[0, 0, :3] = 255
    logits.requires_grad_()
    loss = BalancedCrossEntropy()(logits, labels, **rest)
    loss.backward()
    if only == 255:
        assert float(loss) == 0 and not logits.grad.any()
    else:
        assert_close(loss, F.cross_entropy(logits, labels, ignore_index=255))
    assert logits.grad.isfinite().all()


class Heads(nn.Module):
    """All losses on trained logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 1)
        self.losses = nn.ModuleList([
            BalancedCrossEntropy(), SaliencyLoss(),
            DenseEnergyLoss(loss_weight=1e-3),
            CappedCrossEntropy(cell=4, start=9)
        ])

    def forward(self, labels, rest):
        logits = self.conv(rest['image'] / 255)
        return {
            type(loss).__name__: loss(logits, labels, **rest)
            for loss in self.losses
        }


def global_batch():
    """Four images; the first two have hardly a foreground pixel."""
    _, labels, rest = batch(4)
    labels[:2] = labels[:2].masked_fill(labels[:2] > 0, 255)
    labels[0, 0, 0] = 2
    return labels, rest


def step(model, part):
    labels, rest = global_batch()
    losses = model(labels[part], {k: v[part] for k, v in rest.items()})
    sum(losses.values()).backward()
    return ({k: float(v) for k, v in losses.items()},
            [p.grad.clone() for p in model.parameters()])


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    part = slice(0, 2) if rank == 0 else slice(2, 4)
    torch.save(
        step(DistributedDataParallel(Heads()), part), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_average_over_the_global_batch(tmp_path):
    losses, grads = step(Heads(), slice(0, 4))
    naive = [step(Heads(), part)[0] for part in (slice(0, 2), slice(2, 4))]
    for name in ('BalancedCrossEntropy', 'CappedCrossEntropy'):
        mean = sum(part[name] for part in naive) / 2
        assert mean != pytest.approx(losses[name], rel=1e-3), name
    mp.spawn(work, (str(tmp_path), ), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    for name, value in losses.items():
        mean = sum(part[0][name] for part in parts) / 2
        assert mean == pytest.approx(value, rel=1e-5), name
    for part in parts:
        assert_close(part[1], grads, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------ saliency
@pytest.mark.parametrize('bug', [False, True])
def test_saliency_loss(bug):
    logits, labels, rest = batch()
    values = []
    for n, y, x in np.ndindex(*labels.shape):
        background = float(logits[n, :, y, x].softmax(0)[0])
        s = float(rest['saliency'][n, y, x])
        # The published code: 1 everywhere but where a class was mined.
        target = 1 - int(s / 255) if bug else float(s == 0)
        values.append(-math.log(background if target else 1 - background))
    loss = SaliencyLoss(official_bug=bug)(logits, labels, **rest)
    assert float(loss) == pytest.approx(np.mean(values), rel=1e-5)


def test_saliency_loss_without_saliency():
    logits, labels, rest = batch()
    assert SaliencyLoss()(logits, labels, **{**rest, 'saliency': None}) is None


def test_saliency_loss_of_certain_logits():
    logits = torch.tensor([200., 0., -200.]).view(1, 3, 1, 1)
    logits.requires_grad_()
    loss = SaliencyLoss()(logits, saliency=torch.ones(1, 1, 1))
    loss.backward()
    assert float(loss) == pytest.approx(200)
    assert_close(logits.grad.flatten(), torch.tensor([1., -1., 0.]))


# -------------------------------------------------------------- dense energy
def kernel(image, sigma_rgb, sigma_xy):
    """W of one image (3, h, w) by loops over pairs of pixels."""
    image = image.double().numpy()
    places = list(np.ndindex(*image.shape[1:]))
    matrix = np.zeros((len(places), ) * 2)
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            colour = ((image[:, y, x] - image[:, v, u])**2).sum()
            matrix[i, j] = math.exp(-((y - v)**2 + (x - u)**2) /
                                    (2 * sigma_xy**2) - colour /
                                    (2 * sigma_rgb**2))
    return torch.from_numpy(matrix)


@pytest.mark.parametrize('max_entries', [1, 48 * 5, 2**22])
def test_exact_filter_against_loops(max_entries):
    logits, _, rest = batch()
    image, values = rest['image'][0], logits[0]
    expected = (kernel(image, 15, 5) @ values.double().flatten(1).T).T
    found = exact_filter(values, image, 15, 5, max_entries)
    assert_close(found.double().flatten(1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('scale', [1, .5])
def test_dense_energy_against_loops(scale):
    logits, labels, rest = batch()
    weight, factor = 1e-3, .7
    loss = DenseEnergyLoss(
        sigma_rgb=15,
        sigma_xy=5,
        scale_factor=scale,
        filter='exact',
        exact_factor=factor,
        loss_weight=weight)
    logits.requires_grad_()
    value = loss(logits, labels, **rest)
    value.backward()
    found, logits.grad = logits.grad, None

    step = round(1 / scale)
    nearest = (..., slice(None, None, step), slice(None, None, step))
    # Halved bilinearly, four pixels become their mean.
    probs = F.avg_pool2d(logits.softmax(1), step)
    roi = rest['valid'][nearest].double()
    total, gradients = 0, []
    for n in range(len(logits)):
        scores = (probs[n].detach().double() * roi[n]).flatten(1)
        filtered = factor * (
            kernel(rest['image'][nearest][n], 15, 5 * scale) @ scores.T).T
        best = probs[n].detach().amax(0).double()
        gate = torch.where(labels[nearest][n] == 255, 1.,
                           (roi[n] - best).clamp(min=0)).flatten()
        total -= weight / len(logits) * (gate * scores * filtered).sum()
        gradients.append(-2 * weight / len(logits) * gate * filtered *
                         roi[n].flatten())
    assert float(value) == pytest.approx(float(total), rel=1e-5)
    probs.backward(torch.stack(gradients).view_as(probs).float())
    assert_close(
        found, logits.grad, rtol=1e-4, atol=1e-6 * found.abs().max().item())


def test_gradient_is_the_symmetric_one():
    torch.manual_seed(0)
    scores = torch.rand(2, 3, 4, requires_grad=True)
    gate, filtered = torch.rand(1, 3, 4), torch.rand(2, 3, 4)
    energy = _Energy.apply(scores, gate, filtered)
    assert_close(energy, -(gate * scores * filtered).sum())
    (3 * energy).backward()
    assert_close(scores.grad, -6 * gate * filtered)


def test_lattice_is_proportional_to_the_exact_sums():
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (3, 4, 5))
    image = np.repeat(np.repeat(colours, 10, 1), 10, 2)
    image = torch.from_numpy(image + rng.normal(0, 8, (3, 40, 50))).float()
    values = torch.rand(3, 4, 5).repeat_interleave(10, 1)
    values = values.repeat_interleave(10, 2)
    ours = lattice_filter(values, image, 15, 50).flatten()
    exact = exact_filter(values, image, 15, 50).flatten()
    assert torch.corrcoef(torch.stack((ours, exact)))[0, 1] > 0.98
    # That is why there is an exact_factor.
    assert 0.35 < float(ours.sum() / exact.sum()) < 0.65


def test_lattice_against_pydensecrf():
    densecrf = pytest.importorskip('pydensecrf.densecrf')
    rng = np.random.default_rng(0)
    height, width, weight = 24, 30, 0.02
    image = cv2.GaussianBlur(
        rng.integers(0, 256, (height, width, 3)).astype(np.uint8), (0, 0), 3)
    crf = densecrf.DenseCRF2D(width, height, 2)
    crf.addPairwiseBilateral(
        sxy=20,
        srgb=15,
        rgbim=image,
        compat=weight,
        normalization=densecrf.NO_NORMALIZATION)
    energy = rng.random((2, height * width)).astype(np.float32)
    crf.setUnaryEnergy(energy)
    # One step of inference: softmax(-energy + weight * W softmax(-energy)).
    after = np.log(np.array(crf.inference(1), np.float64)) + energy
    theirs = (after[0] - after[1]) / weight
    before = torch.from_numpy(-energy).softmax(0)
    ours = lattice_filter((before[0] - before[1]).view(1, height, width),
                          torch.from_numpy(image).permute(2, 0, 1).float(), 15,
                          20).flatten().numpy()
    scale = np.abs(ours).max()
    np.testing.assert_allclose(theirs / scale, ours / scale, atol=1e-3)


def test_everything_ignored_and_nothing_valid():
    logits, labels, rest = batch()
    loss = DenseEnergyLoss(loss_weight=1.)
    ignored = loss(logits, torch.full_like(labels, 255), **rest)
    assert float(ignored) < float(loss(logits, labels, **rest)) < 0
    rest['valid'] = torch.zeros_like(rest['valid'])
    logits.requires_grad_()
    value = loss(logits, labels, **rest)
    value.backward()
    assert float(value) == 0 and not logits.grad.any()
    rest['valid'] = None  # Everywhere.
    assert float(loss(logits, labels, **rest)) < 0


@pytest.mark.parametrize('filter', ['lattice', 'exact'])
def test_half_precision_is_widened(filter):
    logits, labels, rest = batch()
    loss = DenseEnergyLoss(filter=filter, loss_weight=1.)
    expected = loss(logits.bfloat16().float(), labels, **rest)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = loss(logits.bfloat16(), labels, **rest)
    assert_close(found, expected)
    rest['image'] = rest['image'].to(torch.uint8)
    assert_close(loss(logits.bfloat16(), labels, **rest), expected)


def test_errors():
    with pytest.raises(ValueError, match="filter is 'fast'"):
        DenseEnergyLoss(filter='fast')
    for name in ('sigma_rgb', 'sigma_xy', 'scale_factor', 'exact_factor',
                 'max_entries'):
        with pytest.raises(ValueError, match=f'{name} is 0'):
            DenseEnergyLoss(**{name: 0})


@pytest.mark.parametrize('smoothing', [0.4, 0.7])
def test_smoothed_cross_entropy(smoothing):
    logits, labels, _ = batch()
    num_classes = logits.shape[1]
    each = dict(bg=[], fg=[])
    for n, y, x in np.ndindex(*labels.shape):
        label = int(labels[n, y, x])
        if label != 255:
            z = logits[n, :, y, x]
            target = torch.full_like(z, smoothing / (num_classes - 1))
            target[label] = 1 - smoothing
            each['fg' if label else 'bg'].append(
                float((target * (z.exp().sum().log() - z)).sum()))
    loss = BalancedCrossEntropy(loss_weight=0.5, label_smoothing=smoothing)
    assert float(loss(logits, labels)) == pytest.approx(
        sum(map(np.mean, each.values())) / 2, rel=1e-5)
    with pytest.raises(ValueError, match='label_smoothing in'):
        BalancedCrossEntropy(label_smoothing=1.)


def test_lattices_of_several_images_do_not_touch():
    """On a GPU all images are filtered together."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 3, 12, 15)).float()
    # Alike in colour and place, yet of another image.
    image[1] = image[0]
    values = torch.rand(3, 4, 12, 15)
    together = lattice_filter(values, image, 15., 20.)
    for each, v, i in zip(together, values, image):
        assert_close(each, lattice_filter(v, i, 15., 20.))
