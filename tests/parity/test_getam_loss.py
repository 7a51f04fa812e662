"""The losses of a phase-2 step and their gradients."""
import math

import torch
from torch.testing import assert_close

from mmwsss.models.losses import (
    BalancedCrossEntropy,
    DenseEnergyLoss,
    SaliencyLoss,
)

from .acr_helpers import tensor

FAMILIES = ('getam_loss', )


def run(loss, vector):
    """Value and gradient of a loss module."""
    logits = tensor(vector['seg_logits']).requires_grad_()
    value = loss(
        logits,
        tensor(vector['seg_label']).long(),
        image=tensor(vector['ori_image']),
        valid=tensor(vector['cropping']) > 0,
        saliency=tensor(vector['saliency_after_completion']))
    value.backward()
    return value.detach(), logits.grad


def check(vector, loss, expected, gradient, rtol=1e-5):
    value, grad = run(loss, vector)
    assert_close(
        value, tensor(expected).reshape(()), rtol=rtol, atol=1e-12)
    gradient = tensor(vector[gradient])
    assert_close(
        grad, gradient, rtol=rtol, atol=rtol * float(gradient.abs().max()))


def test_cross_entropy(vector):
    expected = vector['ref_ce_zero_if_empty']
    check(vector, BalancedCrossEntropy(), expected, 'grad_ce_seg')
    if math.isfinite(vector['official_ce']):
        assert_close(tensor(expected), tensor(vector['official_ce']))


def test_saliency(vector):
    for bug, prefix in ((False, 'ref'), (True, 'official')):
        loss = SaliencyLoss(official_bug=bug)
        target = loss.target(tensor(vector['saliency_after_completion']))
        assert_close(
            target, tensor(vector[f'{prefix}_sal_target']), rtol=0, atol=0)
        check(vector, loss, vector[f'{prefix}_sal_loss'],
              f'grad_{prefix}_sal_seg')


def test_dense_energy(vector):
    check(vector, DenseEnergyLoss(), vector['dense_energy'],
          'grad_dense_seg', 1e-4)


def test_classification(vector):
    loss = torch.nn.functional.multilabel_soft_margin_loss(
        tensor(vector['cls_logits']), tensor(vector['labels']))
    assert_close(loss, tensor(vector['cls_loss']), rtol=1e-5, atol=1e-6)
