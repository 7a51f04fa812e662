"""Cross entropy over the labelled pixels of all processes."""
from importlib import import_module

import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss

from mmwsss.models.losses import GlobalCrossEntropy


@pytest.fixture
def batch():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    label = torch.randint(0, 4, (3, 5, 6))
    label[0, :4] = 255
    label[1, 2, 2] = 255
    return logits.requires_grad_(), label


def test_mean_over_labelled_pixels(batch):
    logits, label = batch
    total = count = 0
    for i in range(3):
        for y in range(5):
            for x in range(6):
                if label[i, y, x] != 255:
                    scores = logits[i, :, y, x]
                    total += scores.exp().sum().log() - scores[
                        label[i, y, x]]
                    count += 1
    found = GlobalCrossEntropy(loss_weight=.5)(logits, label)
    assert float(found) == pytest.approx(float(total) / count / 2, rel=1e-6)
    same = CrossEntropyLoss(avg_non_ignore=True)(
        logits.float(), label, ignore_index=255)
    torch.testing.assert_close(found.float() * 2, same)
    weight = torch.rand(3, 5, 6)
    expected = torch.nn.functional.cross_entropy(
        logits, label, ignore_index=255, reduction='none') * weight
    assert float(GlobalCrossEntropy()(logits, label, weight)) == pytest.approx(
        float(expected.sum()) / count, rel=1e-6)


def test_ignored_and_half_precision(batch):
    logits, label = batch
    other = torch.full_like(label, 7)
    loss = GlobalCrossEntropy()(logits, label * 0 + 7, ignore_index=7)
    loss.backward()
    assert float(loss) == 0 and not logits.grad.any()
    other[label != 255] = label[label != 255]
    found = GlobalCrossEntropy()(logits, other, ignore_index=7)
    assert found == GlobalCrossEntropy()(logits, label)
    half = GlobalCrossEntropy()(logits.bfloat16(), label)
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(found), rel=1e-2)


def test_shares_of_a_batch(batch, monkeypatch):
    """The mean of what each process computes is that of the whole batch."""
    logits, label = batch
    whole = GlobalCrossEntropy()(logits, label)
    pieces = [slice(0, 1), slice(1, 3)]
    count = int((label != 255).sum())

    def all_reduce(values):
        values.fill_(count)

    module = import_module('mmwsss.models.losses.affinity_loss')
    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    monkeypatch.setattr(module, 'all_reduce', all_reduce)
    parts = [GlobalCrossEntropy()(logits[p], label[p]) for p in pieces]
    torch.testing.assert_close(sum(parts) / 2, whole)
