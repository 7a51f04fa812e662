"""MCTformer+'s read-out against plain loops."""
import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.localizers.class_attention_cam import (
    class_attention,
    fuse,
)
from mmwsss.structures import AttentionRequest
from tests.test_models.builders import build_segmentor, sample, vit_cfg

COUNT = 5


def build(distilled=False, count=COUNT, **localizer):
    return build_segmentor(
        backbone=vit_cfg(distilled=distilled, num_class_tokens=count),
        cls_head=dict(
            type='mmwsss.MultiClassTokenHead',
            num_classes=COUNT,
            in_channels=24),
        localizer=dict(type='mmwsss.ClassAttentionCAM', **localizer))


def plain_maps(attentions, cams, first, affinity, start=0):
    """One image, its classes one by one, from full matrices per head."""
    depth, heads = len(attentions), attentions[0].shape[0]
    count, (h, w) = len(cams), cams.shape[1:]
    maps = torch.zeros(count, h, w)
    for k in range(count):
        fused = []
        for p in range(h * w):
            total = sum(
                float(attentions[layer][head, k, first + p])
                for layer in range(start, depth) for head in range(heads))
            total /= (depth - start) * heads
            score = max(float(cams[k, p // w, p % w]), 0.)
            fused.append(math.sqrt(total * score))
        if affinity:
            fused = [
                sum(
                    sum(
                        float(attentions[layer][head, first + p, first + q])
                        for head in range(heads)) / heads * fused[q]
                    for layer in range(depth) for q in range(h * w))
                for p in range(h * w)
            ]
        maps[k] = torch.tensor(fused).view(h, w)
    return maps


@pytest.mark.parametrize('size', [(32, 48), (48, 32), (16, 16)])
@pytest.mark.parametrize('distilled, affinity, start', [
    (False, True, 0),
    (True, True, 2),
    (False, False, -1),
])
def test_maps_follow_the_formula(size, distilled, affinity, start):
    model = build(distilled, affinity=affinity, start_layer=start)
    model.eval()
    image = torch.randn(2, 3, *size)
    class_ids = torch.tensor([[0, 3], [2, -1]])
    with torch.no_grad():
        full = model.forward_view(
            image, request=AttentionRequest(matrices='heads'))
        view = model.forward_view(
            image, request=model.localizer.attention_request(model))
        maps = model.localizer(model, view, class_ids)
    grid = size[0] // 16, size[1] // 16
    assert maps.shape == (2, 2, *grid) and not maps.requires_grad
    assert not maps[1, 1].any()
    for i, ids in enumerate(class_ids.tolist()):
        expected = plain_maps([a[i] for a in full.attentions], full.cams[i],
                              COUNT + distilled, affinity, start % 4)
        for j, k in enumerate(ids):
            if k >= 0:
                assert_close(maps[i, j], expected[k], rtol=1e-3, atol=1e-5)
    assert maps.any()


def test_parts():
    rows = [torch.rand(1, 2, 3, 7) for _ in range(2)]
    attention = class_attention(rows, 4)
    for k in range(3):
        for p in range(3):
            values = [float(r[0, h, k, 4 + p]) for r in rows for h in (0, 1)]
            assert float(attention[0, k, p]) == pytest.approx(
                sum(values) / 4)
    cams = torch.tensor([[[-1., 0., 4.]]])
    assert_close(
        fuse(torch.tensor([[[.25, .25, .25]]]), cams),
        torch.tensor([[[0., 0., 1.]]]))


def test_prediction_builds_no_graph():
    """Class rows cost no backward pass, unlike GETAM's."""
    model = build()
    model.eval()
    view = model.forward_view(
        torch.randn(1, 3, 32, 48),
        request=model.localizer.attention_request(model))
    assert all(row.requires_grad for row in view.class_rows), 'training'
    with torch.no_grad():
        view = model.forward_view(
            torch.randn(1, 3, 32, 48),
            request=model.localizer.attention_request(model))
        assert not any(row.requires_grad for row in view.class_rows)
        assert not view.logits.requires_grad
        found = model.predict(
            torch.randn(2, 3, 40, 60),
            [sample([1, 4], (80, 120)), sample([])])
    assert found[0].cams.shape == (2, 80, 120)
    assert found[0].cams.isfinite().all() and found[0].cams.any()
    assert found[1].cams.shape[0] == 0


def test_single_class_token_is_refused():
    with pytest.raises(ValueError, match='1 class tokens for 5 classes'):
        build_segmentor(localizer=dict(type='mmwsss.ClassAttentionCAM'))
