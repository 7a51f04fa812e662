import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.localizers.getam import (
    COUPLINGS,
    affinity_refine,
    class_gradients,
    couple,
    getam,
)
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest
from tests.test_models.builders import build_segmentor, vit_cfg


def plain_couple(attention, gradient, func):
    """The four couplings, written out head by head."""
    heads = attention.shape[0]
    g = sum(gradient[h].clamp(min=0) for h in range(heads)) / heads
    ga = sum((gradient[h] * attention[h]).clamp(min=0)
             for h in range(heads)) / heads
    return {
        'grad': g,
        'grad_s': g * g,
        'cam_grad': ga,
        'cam_grad_s': ga * g
    }[func]


@pytest.mark.parametrize('func', COUPLINGS)
def test_couplings_follow_the_formula(func):
    attention, gradient = torch.rand(3, 5, 5), torch.randn(3, 5, 5)
    assert_close(
        couple(attention, gradient, func),
        plain_couple(attention, gradient, func))


def test_unknown_coupling():
    with pytest.raises(ValueError, match='Unknown GETAM func'):
        couple(torch.rand(1, 2, 2), torch.rand(1, 2, 2), 'square')
    with pytest.raises(ValueError, match='Unknown GETAM func'):
        MODELS.build(dict(type='mmwsss.GETAM', func='square'))


def test_getam_reads_the_class_row_and_skips_prefix_tokens():
    attention = [torch.rand(2, 6, 6) for _ in range(3)]
    gradient = [torch.randn(2, 6, 6) for _ in range(3)]
    expected = sum(
        plain_couple(a, g, 'grad')[0, 2:]
        for a, g in zip(attention, gradient)).clamp(min=0)
    assert_close(getam(attention, gradient, 'grad', 2), expected)


def test_affinity_is_one_matrix_vector_product_per_class():
    maps, affinity = torch.rand(2, 3, 4), torch.rand(2, 4, 4)
    refined = affinity_refine(maps, affinity)
    for n in range(2):
        for k in range(3):
            assert_close(refined[n, k], affinity[n] @ maps[n, k])


@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('affinity', [False, True])
@pytest.mark.parametrize('func', COUPLINGS)
def test_batched_maps_equal_one_backward_per_class(func, affinity,
                                                   distilled):
    """All classes of all images at once against the published loop."""
    model = build_segmentor(
        backbone=vit_cfg(distilled=distilled),
        localizer=dict(
            type='mmwsss.GETAM', func=func, start_layer=1,
            affinity=affinity))
    image = torch.randn(3, 3, 48, 80)
    class_ids = torch.tensor([[0, 3], [2, -1], [4, 1]])
    view = model.forward_view(
        image, request=model.localizer.attention_request(model))
    maps = model.localizer(model, view, class_ids)
    assert maps.shape == (3, 2, 3, 5)
    assert (maps[1, 1] == 0).all()
    for n in range(3):
        for k in range(2):
            c = int(class_ids[n, k])
            if c < 0:
                continue
            full = model.forward_view(
                image[n:n + 1], request=AttentionRequest(matrices='heads'))
            grads = torch.autograd.grad(full.logits[0, c],
                                        full.attentions[1:])
            p = full.num_prefix_tokens
            expected = sum(
                plain_couple(a[0], g[0], func)[0, p:]
                for a, g in zip(full.attentions[1:], grads)).clamp(min=0)
            if affinity:
                expected = sum(a[0, :, p:, p:].mean(0)
                               for a in full.attentions) @ expected
            assert_close(
                maps[n, k].flatten(), expected, rtol=1e-3, atol=1e-5)


def test_works_without_gradients_enabled_and_with_frozen_weights():
    model = build_segmentor()
    image, ids = torch.randn(1, 3, 64, 64), torch.tensor([[1]])
    reference = model.compute_cams(image, ids)[0][0][0]
    model.requires_grad_(False)
    with torch.no_grad():
        maps = model.compute_cams(image, ids)[0][0][0]
    assert not maps.requires_grad
    assert_close(maps, reference.detach())
    assert maps.max() > 0


def test_no_parameter_gradient_is_touched():
    model = build_segmentor()
    model.compute_cams(torch.randn(1, 3, 64, 64), torch.tensor([[1, 2]]))
    assert all(p.grad is None for p in model.parameters())


def test_class_gradients_of_padding_are_zero():
    logits = torch.randn(2, 4)
    row = torch.rand(2, 3, 1, 5, requires_grad=True)
    logits = logits + row.sum(dim=(1, 2, 3))[:, None]
    grads, = class_gradients(logits, [row], torch.tensor([[1, 2], [3, -1]]))
    assert grads.shape == (2, 2, 3, 1, 5)
    assert (grads[1, 1] == 0).all() and (grads[0] == 1).all()
