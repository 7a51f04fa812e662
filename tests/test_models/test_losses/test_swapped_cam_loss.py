"""CoSA's loss of CAMs against plain loops."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.losses.swapped_cam_loss import (
    class_probabilities,
    swapped_cam_loss,
)
from mmwsss.registry import MODELS

LABELS = torch.tensor([[1., 0., 1.], [0., 0., 0.], [0., math.nan, 1.]])


def plain_probabilities(logits, labels, temperature):
    """Position by position, absent classes left out of the softmax."""
    found = torch.zeros(3, 3, *logits.shape[2:])
    for n, tags in enumerate(labels.tolist()):
        present = [0] + [k + 1 for k, t in enumerate(tags) if t == 1]
        for y in range(logits.shape[2]):
            for x in range(logits.shape[3]):
                values = {k: float(logits[n, k, y, x]) / temperature
                          for k in present}
                top = max(values.values())
                total = sum(math.exp(v - top) for v in values.values())
                for k in present[1:]:
                    found[n, k - 1, y, x] = math.exp(values[k] - top) / total
    return found


def plain_loss(cams, targets, labels):
    targets = F.interpolate(targets, size=cams.shape[2:], mode='bilinear')
    total = 0.
    for n, tags in enumerate(labels.tolist()):
        known = [k for k, t in enumerate(tags) if not math.isnan(t)]
        for y in range(cams.shape[2]):
            for x in range(cams.shape[3]):
                terms = []
                for k in known:
                    score = max(float(cams[n, k, y, x]), 0.)
                    p, t = 1 / (1 + math.exp(-score)), float(
                        targets[n, k, y, x])
                    terms.append(-t * math.log(p) -
                                 (1 - t) * math.log(1 - p))
                total += sum(terms) / len(terms)
    return total / (cams.shape[0] * cams.shape[2] * cams.shape[3])


def inputs():
    torch.manual_seed(0)
    return torch.randn(3, 3, 3, 4), torch.randn(3, 4, 6, 8)


@pytest.mark.parametrize('temperature', [0.01, 1.])
def test_probabilities(temperature):
    _, logits = inputs()
    found = class_probabilities(logits, LABELS, temperature)
    assert_close(found, plain_probabilities(logits, LABELS, temperature),
                 rtol=1e-4, atol=1e-6)
    assert not found[1].any() and not found[:, 1].any()
    assert found[0, 0].any() and found[2, 2].any()


def test_loss_follows_the_formula():
    cams, logits = inputs()
    targets = class_probabilities(logits, LABELS, 1.)
    assert float(swapped_cam_loss(cams, targets, LABELS)) == pytest.approx(
        plain_loss(cams, targets, LABELS), rel=1e-5)


def test_what_learns():
    """The student alone, and of its CAMs what is above 0."""
    cams, logits = (x.requires_grad_() for x in inputs())
    loss = MODELS.build(
        dict(type='mmwsss.SwappedCAMLoss', temperature=1., loss_weight=2.))
    value = loss(cams, logits, LABELS)
    targets = plain_probabilities(logits.detach(), LABELS, 1.)
    assert float(value.detach()) == pytest.approx(
        2 * plain_loss(cams.detach(), targets, LABELS), rel=1e-5)
    value.backward()
    assert logits.grad is None
    unknown = LABELS.isnan()[..., None, None].expand_as(cams)
    silent = (cams <= 0) | unknown
    assert torch.equal(cams.grad == 0, silent)
    # Where nothing is shown, a CAM shall be lower.
    assert (cams.grad[1][cams[1] > 0] > 0).all()


def test_half_precision_is_left():
    cams, logits = inputs()
    loss = MODELS.build(dict(type='mmwsss.SwappedCAMLoss'))
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(cams.bfloat16(), 300 * logits.bfloat16(), LABELS)
    assert found.dtype == torch.float32 and found.isfinite()


def test_refusal():
    with pytest.raises(ValueError, match='temperature > 0'):
        MODELS.build(dict(type='mmwsss.SwappedCAMLoss', temperature=0.))
