"""WeakTr's head against plain loops."""
import math

import pytest
import torch

from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest, ViewOutput
from tests.test_models.builders import build_segmentor, vit_cfg
from tests.test_models.test_heads.test_multi_class_token_head import (
    plain_cams,
    plain_loss,
)
from tests.test_models.test_localizers.test_weighted_attention_cam import (
    plain_maps,
)

LAYERS, HEADS, CLASSES, WIDTH = 2, 2, 3, 4


def build(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmwsss.WeightedAttentionHead',
            num_classes=CLASSES,
            in_channels=WIDTH,
            head_weights=dict(
                type='mmwsss.AttentionHeadWeights',
                num_layers=LAYERS,
                num_heads=HEADS,
                feature_reduction=1,
                reduction=1),
            **kwargs))


def view_of(head, labels, size=(2, 3), extra=1):
    """Two images with attention of two blocks and a distillation token."""
    torch.manual_seed(1)
    count = CLASSES + extra + size[0] * size[1]
    attentions = [
        torch.randn(2, HEADS, count, count).softmax(-1)
        for _ in range(LAYERS)
    ]
    return ViewOutput(
        torch.zeros(2, 3, 8, 8),
        torch.tensor(labels),
        fields=dict(
            feats=(3 * torch.randn(2, WIDTH, *size), ),
            class_tokens=(torch.randn(2, CLASSES, WIDTH), ),
            attentions=attentions,
            attention_outputs=[
                torch.randn(2, count, WIDTH) for _ in range(LAYERS)
            ],
            num_prefix_tokens=CLASSES + extra,
            num_class_tokens=CLASSES,
            grid=size),
        providers=dict(cams=head.cams, logits=head))


def plain_scores(head, view):
    """Token, patch and fine scores, (N, K) each."""
    tokens = [[sum(token) / WIDTH for token in image]
              for image in view.class_tokens[-1].tolist()]
    cams = plain_cams(head, view.feats[-1])
    size = cams[0, 0].numel()
    patches = [[sum(m) / size for m in image]
               for image in cams.flatten(2).tolist()]
    fine = []
    weights = head.head_weights(view.attention_outputs)
    for i in range(2):
        maps = plain_maps([a[i] for a in view.attentions], weights[i],
                          cams[i], view.num_prefix_tokens, affinity=True)
        fine.append([sum(m) / size for m in maps.flatten(1).tolist()])
    return [torch.tensor(scores) for scores in (tokens, patches, fine)]


@pytest.mark.parametrize('labels', [
    [[0., 0., 0.], [1., 0., 0.]],
    [[1., 1., 1.], [0., math.nan, 1.]],
    [[math.nan] * 3, [0., 1., 0.]],
])
@pytest.mark.parametrize('size', [(2, 3), (1, 1)])
def test_three_scores_are_trained(labels, size):
    head = build(loss_weight=2.)
    view = view_of(head, labels, size)
    tokens, patches, fine = plain_scores(head, view)
    assert fine.min() >= 0 and fine.max() > 1e-3
    expected = 2 * sum(
        plain_loss(scores, view.labels) for scores in (tokens, patches, fine))
    assert head.loss(view).item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(view.logits, (tokens + patches) / 2)


def test_fine_score_trains_the_weights_of_heads_alone():
    head = build()
    view = view_of(head, [[0., 1., 0.], [1., 0., 1.]])
    leaves = [
        t.requires_grad_() for t in (*view.feats, *view.class_tokens,
                                     *view.attentions,
                                     *view.attention_outputs)
    ]
    loss = head.loss(view)
    found = torch.autograd.grad(
        loss, [*leaves, head.conv.weight, *head.head_weights.parameters()],
        allow_unused=True)
    assert found[0].any() and found[1].any(), 'by the other two scores'
    assert not any(g is not None for g in found[2:len(leaves)])
    assert all(g.any() for g in found[len(leaves):])
    # What reaches the patch CAMs is the gradient of their own score.
    plain = MODELS.build(
        dict(
            type='mmwsss.MultiClassTokenHead',
            num_classes=CLASSES,
            in_channels=WIDTH,
            pooling=dict(type='mmwsss.GlobalAveragePooling')))
    plain.load_state_dict(head.state_dict(), strict=False)
    other = view_of(plain, [[0., 1., 0.], [1., 0., 1.]])
    feats, = (t.requires_grad_() for t in other.feats)
    torch.testing.assert_close(
        torch.autograd.grad(plain.loss(other), feats)[0], found[0])


def test_every_parameter_of_a_model_learns():
    model = build_segmentor(
        backbone=vit_cfg(num_class_tokens=5),
        cls_head=dict(
            type='mmwsss.WeightedAttentionHead',
            num_classes=5,
            in_channels=24,
            head_weights=dict(
                type='mmwsss.AttentionHeadWeights',
                num_layers=4,
                num_heads=3,
                reduction=2)),
        localizer=dict(type='mmwsss.WeightedAttentionCAM'))
    request = model.cls_head.attention_request()
    assert request == AttentionRequest(matrices='heads', outputs=True)
    # An odd size.
    view = model.forward_view(
        torch.randn(2, 3, 40, 52), torch.tensor([[1., 0, 0, 1, 0], [0.] * 5]),
        request)
    model.cls_head.loss(view).backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert not unused
    assert all(p.grad.any()
               for p in model.cls_head.head_weights.parameters())


def test_a_token_per_class_is_needed():
    head = build()
    view = view_of(head, [[0.] * 3] * 2)
    view.fields['class_tokens'] = (torch.randn(2, 2, WIDTH), )
    with pytest.raises(ValueError, match='3 classes, the backbone 2 class'):
        head.loss(view)


def test_averaged_attention_cannot_be_weighed():
    """The other way round, merging says so."""
    request = build().attention_request()
    with pytest.raises(ValueError, match='different forms'):
        AttentionRequest.merge([request, AttentionRequest(matrices='mean')])
