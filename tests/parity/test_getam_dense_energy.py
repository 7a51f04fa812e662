"""The dense energy loss with the published filter and with the exact one."""
import torch
from torch.testing import assert_close

from mmwsss.models.losses.dense_energy_loss import (
    DenseEnergyLoss,
    _Energy,
    exact_filter,
    lattice_filter,
)

from .acr_helpers import tensor

FAMILIES = ('getam_dense_energy', )


def build(vector, filter):
    return DenseEnergyLoss(
        sigma_rgb=float(vector['sigma_rgb']),
        sigma_xy=float(vector['sigma_xy']),
        scale_factor=float(vector['scale_factor']),
        filter=filter,
        exact_factor=1,
        loss_weight=float(vector['weight']))


def inputs(vector):
    return dict(
        labels=tensor(vector['label']).long(),
        image=tensor(vector['image']),
        valid=tensor(vector['roi']) > 0)


def test_filters(vector):
    sigmas = (float(vector['sigma_rgb']),
              float(vector['sigma_xy']) * float(vector['scale_factor']))
    scores = tensor(vector['scaled_probs']) * tensor(
        vector['scaled_roi'])[:, None]
    for function, name in ((lattice_filter, 'filtered_lattice'),
                           (exact_filter, 'filtered_exact')):
        for s, i, expected in zip(scores, tensor(vector['scaled_image']),
                                  tensor(vector[name])):
            # Sums of hundreds of terms: errors are relative to the largest.
            scale = expected.abs().max().clamp(min=1e-6)
            assert_close(
                function(s, i, *sigmas) / scale,
                expected / scale,
                rtol=1e-5,
                atol=3e-6)


def test_lattice_loss(vector):
    logits = tensor(vector['logits']).requires_grad_()
    loss = build(vector, 'lattice')(logits, **inputs(vector))
    assert_close(loss, tensor(vector['loss'])[0], rtol=1e-4, atol=0)
    loss.backward()
    expected = tensor(vector['grad_logits'])
    top = float(expected.abs().max())
    assert_close(logits.grad, expected, rtol=1e-4, atol=1e-5 * top)


def test_exact_loss(vector):
    loss = build(vector, 'exact')(tensor(vector['logits']), **inputs(vector))
    assert_close(
        loss, tensor(vector['loss_exact_gaussian']), rtol=1e-5, atol=0)


def test_energy_given_the_filter(vector):
    probs = tensor(vector['probs']).requires_grad_()
    scaled = torch.nn.functional.interpolate(
        probs,
        scale_factor=float(vector['scale_factor']),
        mode='bilinear',
        align_corners=False)
    assert_close(scaled, tensor(vector['scaled_probs']))
    energy = _Energy.apply(scaled * tensor(vector['scaled_roi'])[:, None],
                           tensor(vector['gate'])[:, None],
                           tensor(vector['filtered_lattice']))
    loss = float(vector['weight']) / len(probs) * energy
    assert_close(loss, tensor(vector['loss'])[0], rtol=1e-5, atol=0)
    loss.backward()
    expected = tensor(vector['grad_probs'])
    top = float(expected.abs().max())
    assert_close(probs.grad, expected, rtol=1e-5, atol=1e-6 * top)
