import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmwsss.models.heads import AffinityHead, DisplacementHead, EdgeHead
from mmwsss.models.losses import (
    affinity_loss,
    affinity_terms,
    displacement_terms,
)
from mmwsss.pseudo_labels.pixel_pairs import pair_labels, path_offsets


def groups(shape, seed=0):
    """Three disjoint sets of pairs, some pairs in none."""
    kind = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, shape))
    return kind == 0, kind == 1, kind == 2


def test_terms_against_sums_over_pairs():
    shape = (2, 3, 5)
    affinity = torch.rand(shape)
    affinity[0, 0, :2] = torch.tensor([0., 1.])
    bg_pos, fg_pos, neg = groups(shape)
    expected = []
    for mask, log in ((bg_pos, lambda a: math.log(a + 1e-5)),
                      (fg_pos, lambda a: math.log(a + 1e-5)),
                      (neg, lambda a: math.log(1 + 1e-5 - a))):
        values = [-log(float(a)) for a in affinity[mask]]
        expected.append(sum(values) / (len(values) + 1e-5))
    terms = [float(t) for t in affinity_terms(affinity, bg_pos, fg_pos, neg)]
    assert terms == pytest.approx(expected, rel=1e-4)
    loss = affinity_loss(affinity, bg_pos, fg_pos, neg)
    bg, fg, different = expected
    assert float(sum(loss.values())) == pytest.approx(
        bg / 4 + fg / 4 + different / 2, rel=1e-4)


def test_displacement_terms_against_sums_over_pairs():
    offsets = torch.tensor([[0, 1], [1, -1], [2, 0]])
    field = torch.randn(2, 2, 3, 5)
    bg_pos, fg_pos, _ = groups((2, 3, 5), seed=1)
    sums = dict(bg=[], fg=[])
    for n in range(2):
        for p in range(3):
            for i in range(5):
                for axis in range(2):
                    value = float(field[n, axis, p, i])
                    if bg_pos[n, p, i]:
                        sums['bg'].append(abs(value))
                    if fg_pos[n, p, i]:
                        sums['fg'].append(abs(value - float(offsets[p, axis])))
    fg, bg = displacement_terms(field, offsets, bg_pos, fg_pos)
    assert float(fg) == pytest.approx(
        sum(sums['fg']) / len(sums['fg']), rel=1e-4)
    assert float(bg) == pytest.approx(
        sum(sums['bg']) / len(sums['bg']), rel=1e-4)


def test_nothing_labelled():
    affinity = torch.tensor([[[0., 0.5, 1.]]], requires_grad=True)
    none = torch.zeros(1, 1, 3, dtype=torch.bool)
    loss = sum(affinity_loss(affinity, none, none, none).values())
    loss.backward()
    assert float(loss) == 0
    assert torch.equal(affinity.grad, torch.zeros(1, 1, 3))


def test_half_precision_is_widened():
    # 1 + 1e-5 - a would be 0 for a = 1 in bfloat16, the loss infinite.
    affinity = torch.ones(1, 1, 2, dtype=torch.bfloat16)
    yes = torch.ones(1, 1, 2, dtype=torch.bool)
    loss = affinity_loss(affinity, ~yes, ~yes, yes)
    assert float(loss['loss_neg']) == pytest.approx(
        -math.log(1e-5) / 2, rel=1e-2)


class Heads(nn.Module):
    """All three heads on given feature maps, as one trained module."""
    RADIUS = 3

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.affinity = AffinityHead((4, ), (5, ), radius=self.RADIUS)
        self.edge = EdgeHead((4, 4), (4, 4), channels=4, num_groups=2)
        self.field = DisplacementHead((4, ) * 5, (4, ) * 5, (4, ) * 5,
                                      (2, ) * 5)

    def forward(self, feat, label):
        offsets = path_offsets(self.RADIUS)
        labels = pair_labels(label, self.RADIUS, offsets)
        losses = self.affinity.loss([feat], label)
        for name, value in self.edge.loss(
                self.edge([feat] * 2), labels, self.RADIUS).items():
            losses[f'{name}_edge'] = value
        losses.update(
            self.field.loss(
                self.field([feat] * 5), *labels[:2], self.RADIUS))
        return losses


def batch():
    """Four images; the last two have few labels, the second no foreground."""
    torch.manual_seed(1)
    feat = torch.randn(4, 4, 8, 9)
    label = torch.zeros(4, 8, 9, dtype=torch.int64)
    label[0, 3:] = 1
    label[0, :, 5:] = 2
    label[2:] = 255
    label[3, 0, 3:6] = 1
    return feat, label


def step(model, feat, label):
    losses = model(feat, label)
    sum(losses.values()).backward()
    return ({k: float(v) for k, v in losses.items()},
            {n.replace('module.', ''): p.grad.clone()
             for n, p in model.named_parameters()})


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    feat, label = batch()
    share = slice(0, 2) if rank == 0 else slice(2, 4)
    result = step(
        DistributedDataParallel(Heads()), feat[share], label[share])
    torch.save(result, f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_average_over_the_global_batch(tmp_path):
    losses, grads = step(Heads(), *batch())
    feat, label = batch()
    alone = [step(Heads(), feat[s], label[s])[0]
             for s in (slice(0, 2), slice(2, 4))]
    mp.spawn(work, (str(tmp_path), ), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    assert len(losses) == 8
    for name, value in losses.items():
        mean = sum(part[0][name] for part in parts) / 2
        assert mean == pytest.approx(value, rel=1e-5), name
        # Means per process and then over processes are something else.
        naive = sum(part[name] for part in alone) / 2
        assert naive != pytest.approx(value, rel=1e-3), name
    for name, grad in grads.items():
        for part in parts:
            torch.testing.assert_close(
                part[1][name], grad, rtol=1e-4, atol=1e-5)
    assert len(grads) > 10
