"""MCTformer+'s head against plain loops."""
import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput
from tests.test_models.builders import build_segmentor, vit_cfg


def build(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmwsss.MultiClassTokenHead',
            num_classes=3,
            in_channels=4,
            **kwargs))


def view_of(head, labels=None, size=(2, 5), count=3):
    torch.manual_seed(1)
    return ViewOutput(
        torch.zeros(2, 3, 8, 8),
        labels,
        fields=dict(
            feats=(torch.randn(2, 4, 3, 3), torch.randn(2, 4, *size)),
            class_tokens=(torch.randn(2, count, 4),
                          torch.randn(2, count, 4))),
        providers=dict(cams=head.cams, logits=head))


def plain_cams(head, feats):
    """3 x 3 convolution with a border of zeros, sum by sum."""
    n, c, h, w = feats.shape
    weight, bias = head.conv.weight.tolist(), head.conv.bias.tolist()
    maps = torch.zeros(n, 3, h, w)
    values = feats.tolist()
    for i in range(n):
        for k in range(3):
            for y in range(h):
                for x in range(w):
                    total = bias[k]
                    for a in (-1, 0, 1):
                        for b in (-1, 0, 1):
                            if 0 <= y + a < h and 0 <= x + b < w:
                                total += sum(
                                    weight[k][j][a + 1][b + 1] *
                                    values[i][j][y + a][x + b]
                                    for j in range(c))
                    maps[i, k, y, x] = total
    return maps


def plain_logits(head, view):
    tokens = torch.tensor([[sum(token) / 4 for token in image]
                           for image in view.class_tokens[-1].tolist()])
    cams = plain_cams(head, view.feats[-1])
    positions = cams[0, 0].numel()
    decay = 0.996**(784 / positions)
    weights = [decay**j for j in range(positions)]
    patches = torch.tensor(
        [[sum(w * v for w, v in zip(weights, sorted(m, reverse=True)))
          for m in image] for image in cams.flatten(2).tolist()])
    return tokens, patches / sum(weights)


def plain_loss(logits, labels):
    """Multi-label soft margin loss of the classes that are known."""
    images = []
    for scores, truth in zip(logits.tolist(), labels.tolist()):
        terms = [
            math.log1p(math.exp(-s if t else s))
            for s, t in zip(scores, truth) if not math.isnan(t)
        ]
        images.append(sum(terms) / len(terms) if terms else 0.)
    return sum(images) / len(images)


@pytest.mark.parametrize('size', [(2, 5), (3, 3), (1, 1)])
def test_logits_follow_the_formula(size):
    head = build()
    view = view_of(head, size=size)
    assert_close(view.cams, plain_cams(head, view.feats[-1]))
    tokens, patches = plain_logits(head, view)
    found = head.both_logits(view)
    assert_close(found[0], tokens)
    assert_close(found[1], patches, rtol=1e-4, atol=1e-5)
    assert_close(view.logits, (tokens + patches) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('labels', [
    [[0., 0., 0.], [1., 0., 0.]],
    [[1., 1., 1.], [0., math.nan, 1.]],
    [[math.nan] * 3, [0., 1., 0.]],
])
def test_both_scores_are_trained(labels):
    head = build(loss_weight=2.)
    view = view_of(head, torch.tensor(labels))
    expected = 2 * sum(
        plain_loss(logits, view.labels)
        for logits in plain_logits(head, view))
    assert head.loss(view).item() == pytest.approx(expected, rel=1e-4)
    view = view_of(head, torch.tensor(labels))
    tokens = [t.requires_grad_() for t in view.class_tokens]
    view.feats[-1].requires_grad_()
    head.loss(view).backward()
    assert tokens[0].grad is None and tokens[1].grad.any()
    assert view.feats[-1].grad.any() and head.conv.bias.grad.any()


def test_what_does_not_fit_is_named():
    head = build()
    with pytest.raises(ValueError, match='3 classes, the backbone 2 class'):
        head(view_of(head, count=2))
    with pytest.raises(ValueError, match='HybridPooling pools features'):
        build(pooling=dict(type='mmwsss.HybridPooling'))
    # A backbone with a single class token, and the other way round.
    image = torch.randn(1, 3, 32, 32)
    single = build_segmentor(
        cls_head=dict(
            type='mmwsss.MultiClassTokenHead', num_classes=5, in_channels=24))
    with pytest.raises(
            AttributeError, match=r'Set model.backbone.num_class_tokens to'):
        single.forward_view(image).logits
    several = build_segmentor(
        backbone=vit_cfg(num_class_tokens=5),
        localizer=dict(type='mmwsss.CAM'))
    with pytest.raises(AttributeError, match='without num_class_tokens'):
        several.forward_view(image).logits
    with pytest.raises(ValueError, match='ClassAttentionCAM'):
        build_segmentor(backbone=vit_cfg(num_class_tokens=5))  # GETAM
