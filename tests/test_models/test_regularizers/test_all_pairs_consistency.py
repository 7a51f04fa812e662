import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.regularizers.all_pairs_consistency import consistency_losses
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest
from tests.parity.acr_helpers import mirror_attention
from tests.test_models.builders import build_segmentor, sample


def acr(**kwargs):
    return dict(
        second_view=dict(type='mmwsss.HorizontalFlip'),
        regularizers=dict(
            acr=dict(type='mmwsss.AllPairsConsistency', **kwargs)))


def test_mirror_attention_permutes_token_by_token():
    gh, gw, p = 2, 3, 2
    attention = torch.rand(1, p + gh * gw, p + gh * gw)
    mirrored = mirror_attention(attention, (gh, gw), p)

    def source(t):
        if t < p:
            return t
        i, j = divmod(t - p, gw)
        return p + i * gw + gw - 1 - j

    for a in range(p + gh * gw):
        for b in range(p + gh * gw):
            assert mirrored[0, a, b] == attention[0, source(a), source(b)]
    assert_close(mirror_attention(mirrored, (gh, gw), p), attention)


def test_losses_follow_the_formula():
    a, b = torch.rand(2, 3, 7, 7), torch.rand(2, 3, 7, 7)
    activation, affinity = consistency_losses(a.unbind(1), b.unbind(1), 1)
    assert_close(activation, (a[:, :, 0, 1:] - b[:, :, 0, 1:]).abs().mean())
    assert_close(affinity, (a[:, :, 1:, 1:] - b[:, :, 1:, 1:]).abs().mean())


def test_column_of_the_class_token_is_free():
    a = torch.rand(1, 5, 5, requires_grad=True)
    b = torch.rand(1, 5, 5)
    sum(consistency_losses([a], [b], 1)).backward()
    assert (a.grad[0, :, 0] == 0).all()
    assert (a.grad[0, :, 1:] != 0).all()


def test_model_equals_two_forwards_with_permuted_matrices():
    """Losses and gradients of the aligned single pass, against the paper's
    procedure written out."""
    model = build_segmentor(**acr(loss_weight=7.))
    image = torch.randn(2, 3, 48, 80)
    samples = [sample([0, 2]), sample([])]
    losses = model.loss(image, samples)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters()
             if p.grad is not None}
    model.zero_grad()

    request = AttentionRequest(matrices='mean')
    labels = model.stack_labels(samples, image)
    one = model.forward_view(image, labels, request)
    two = model.forward_view(image.flip(-1), labels, request)
    restored = [mirror_attention(a, (3, 5), 1) for a in two.attentions]
    act = sum((a[:, 0, 1:] - b[:, 0, 1:]).abs().mean()
              for a, b in zip(one.attentions, restored)) / 4
    aff = sum((a[:, 1:, 1:] - b[:, 1:, 1:]).abs().mean()
              for a, b in zip(one.attentions, restored)) / 4
    assert_close(losses['acr.loss_activation'], 7 * act, rtol=1e-4, atol=1e-6)
    assert_close(losses['acr.loss_affinity'], 7 * aff, rtol=1e-4, atol=1e-6)
    expected = model.cls_head.loss(one) + model.cls_head.loss(two) \
        + 7 * (act + aff)
    assert_close(total, expected, rtol=1e-5, atol=1e-5)
    expected.backward()
    for name, param in model.named_parameters():
        if name in grads:
            assert_close(grads[name], param.grad, rtol=1e-2, atol=1e-4)


def test_symmetric_image_costs_nothing():
    model = build_segmentor(**acr())
    half = torch.randn(1, 3, 64, 32)
    # Mirror-symmetric pixels, position embeddings and patch filters.
    image = torch.cat((half, half.flip(-1)), dim=-1)
    with torch.no_grad():
        weight = model.backbone.patch_embed.projection.weight
        weight.copy_((weight + weight.flip(-1)) / 2)
        pos = model.backbone.pos_embed[:, 1:].unflatten(1, (4, 4))
        pos.copy_((pos + pos.flip(2)) / 2)
    losses = model.loss(image, [sample([1])])
    assert losses['acr.loss_activation'] < 1e-3
    assert losses['acr.loss_affinity'] < 1e-3
    # A network that knows left from right is not spared.
    losses = build_segmentor(**acr()).loss(image, [sample([1])])
    assert losses['acr.loss_affinity'] > 1e-2


def test_weight_follows_the_number_of_tokens():
    image, samples = torch.randn(1, 3, 64, 64), [sample([1])]
    plain = build_segmentor(**acr(loss_weight=8.)).loss(image, samples)
    scaled = build_segmentor(**acr(loss_weight=8., num_tokens=64)).loss(
        image, samples)
    for key in ('acr.loss_activation', 'acr.loss_affinity'):
        assert_close(scaled[key], plain[key] * 16 / 64)
    with pytest.raises(ValueError, match='num_tokens >= 1'):
        MODELS.build(dict(type='mmwsss.AllPairsConsistency', num_tokens=0))


@pytest.mark.parametrize('scale', [0.5, 1.0])
def test_needs_a_second_view_of_the_same_grid(scale):
    """A view of the same number of tokens need not be a mirrored one."""
    regularizers = acr()['regularizers']
    with pytest.raises(ValueError, match='second_view=dict'):
        build_segmentor(regularizers=regularizers)
    model = build_segmentor(
        regularizers=regularizers,
        second_view=dict(type='mmwsss.Rescale', scale=scale))
    with pytest.raises(ValueError, match='HorizontalFlip.*Rescale'):
        model.loss(torch.randn(1, 3, 64, 64), [sample([1])])


def test_needs_a_backbone_with_attention():
    from tests.test_models.builders import resnet_cfg
    model = build_segmentor(**resnet_cfg(**acr()))
    with pytest.raises(TypeError, match='ResNet shows neither attention'):
        model.loss(torch.randn(1, 3, 64, 64), [sample([1])])


def test_all_class_tokens_take_part():
    """With one per class; the distillation token after them does not."""
    torch.manual_seed(0)
    first, other = torch.rand(2, 9, 9), torch.rand(2, 9, 9)
    rows = [
        abs(float(first[n, k, p]) - float(other[n, k, p]))
        for n in range(2) for k in range(3) for p in range(4, 9)
    ]
    activation, _ = consistency_losses([first], [other], 4, 3)
    assert float(activation) == pytest.approx(sum(rows) / len(rows))
