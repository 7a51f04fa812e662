"""WeakTr's read-out against plain loops."""
import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.localizers.weighted_attention_cam import (
    attended_cams,
    fine_cams,
    weighted_attention,
)
from tests.test_models.builders import build_segmentor, sample, vit_cfg

COUNT = 5


def build(count=COUNT, affinity=True, **backbone):
    model = build_segmentor(
        backbone=vit_cfg(num_class_tokens=count, **backbone),
        cls_head=dict(
            type='mmwsss.WeightedAttentionHead',
            num_classes=COUNT,
            in_channels=24,
            head_weights=dict(
                type='mmwsss.AttentionHeadWeights',
                num_layers=4,
                num_heads=3,
                reduction=2)),
        localizer=dict(type='mmwsss.WeightedAttentionCAM', affinity=affinity))
    for param in model.cls_head.head_weights.parameters():
        torch.nn.init.normal_(param)  # Weights that differ.
    return model


def plain_maps(attentions, weights, cams, first, affinity):
    """One image, its classes one by one, from matrices per head."""
    heads = [head for block in attentions for head in block.tolist()]
    weights = weights.tolist()
    assert len(heads) == len(weights)
    count, (h, w) = len(cams), cams.shape[1:]

    def attention(row, column):
        return sum(weight * head[row][column]
                   for weight, head in zip(weights, heads)) / len(heads)

    scores, patches = cams.flatten(1).tolist(), range(h * w)
    maps = []
    for k in range(count):
        fused = [
            max(scores[k][p], 0.) * attention(k, first + p) for p in patches
        ]
        if affinity:
            fused = [
                sum(attention(first + p, first + q) * fused[q]
                    for q in patches) for p in patches
            ]
        maps.append(fused)
    return torch.tensor(maps).view(count, h, w)


@pytest.mark.parametrize('size', [(32, 48), (48, 32), (16, 16), (40, 52)])
@pytest.mark.parametrize('affinity, backbone', [
    (True, {}),
    (True, dict(distilled=True)),
    (False, dict(num_registers=2)),
])
def test_maps_follow_the_formula(size, affinity, backbone):
    model = build(affinity=affinity, **backbone).eval()
    class_ids = torch.tensor([[0, 3], [2, -1]])
    with torch.no_grad():
        view = model.forward_view(
            torch.randn(2, 3, *size),
            request=model.localizer.attention_request(model))
        maps = model.localizer(model, view, class_ids)
    grid = -(-size[0] // 16), -(-size[1] // 16)
    assert maps.shape == (2, 2, *grid) and not maps.requires_grad
    assert not maps[1, 1].any() and maps.any()
    weights = model.cls_head.head_weights(view.attention_outputs)
    assert weights.std() > 0.01
    first = COUNT + backbone.get('distilled', 0) + backbone.get(
        'num_registers', 0)
    for i, ids in enumerate(class_ids.tolist()):
        expected = plain_maps([a[i] for a in view.attentions], weights[i],
                              view.cams[i], first, affinity)
        for j, k in enumerate(ids):
            if k >= 0:
                assert_close(maps[i, j], expected[k], rtol=1e-3, atol=1e-6)


def test_equal_weights_give_the_mean():
    """Half of it, where all weights are one half."""
    attentions = [torch.rand(2, 3, 6, 6) for _ in range(4)]
    mean = torch.stack(attentions).mean(dim=(0, 2))
    assert_close(
        weighted_attention(attentions, torch.full((2, 12), .5)), mean / 2)


def test_one_head_alone():
    """Which head a weight belongs to: block after block."""
    attentions = [torch.rand(1, 3, 6, 6) for _ in range(4)]
    for g in range(12):
        weights = torch.zeros(1, 12)
        weights[0, g] = 12
        assert_close(
            weighted_attention(attentions, weights),
            attentions[g // 3][:, g % 3])


def test_propagation_goes_from_where_a_patch_looks():
    """Rows are queries: a patch gets what the patches it attends to have."""
    attention = torch.zeros(1, 4, 4)
    attention[0, 0, 1:] = 1.  # The class looks everywhere.
    attention[0, 1, 3] = 1.  # The first patch looks at the last.
    cams = torch.tensor([[[-2., 0., 5.]]])
    assert attended_cams(attention, cams, 1).tolist() == [[[0., 0., 5.]]]
    assert fine_cams(attention, cams, 1).tolist() == [[[5., 0., 0.]]]


def test_half_precision_keeps_small_attention():
    """As CUDA's autocast computes: the maps are those of float32."""
    attentions = [torch.randn(1, 3, 6, 6).softmax(-1) for _ in range(4)]
    weights, cams = torch.rand(1, 12), torch.randn(1, 2, 3)
    expected = fine_cams(weighted_attention(attentions, weights), cams, 3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = fine_cams(weighted_attention(attentions, weights), cams, 3)
    assert_close(found, expected)


def test_prediction_builds_no_graph():
    model = build().eval()
    with torch.no_grad():
        found = model.predict(
            torch.randn(2, 3, 40, 60),
            [sample([1, 4], (80, 120)), sample([])])
    assert found[0].cams.shape == (2, 80, 120)
    assert found[0].cams.isfinite().all() and found[0].cams.any()
    assert not found[0].cams.requires_grad
    assert found[1].cams.shape[0] == 0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match='which ClassTokenHead does not'):
        build_segmentor(localizer=dict(type='mmwsss.WeightedAttentionCAM'))
    with pytest.raises(ValueError, match='2 class tokens for 5 classes'):
        build(count=2)
