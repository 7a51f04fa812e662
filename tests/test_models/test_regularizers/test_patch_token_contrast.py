"""ToCo's contrast of patch tokens against plain loops."""
import math

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.regularizers.patch_token_contrast import (
    patch_labels,
    patch_token_contrast,
)
from mmwsss.registry import MODELS
from mmwsss.structures import FusedCAMs, ViewOutput
from mmwsss.structures.view_output import ViewPair


def plain(feats, labels):
    """Pair by pair."""
    sums, counts = [0., 0.], [0, 0]
    for image, truth in zip(feats.flatten(2).tolist(),
                            labels.flatten(1).tolist()):
        tokens = list(zip(*image))
        for i, one in enumerate(tokens):
            for j, other in enumerate(tokens):
                if i == j or 255 in (truth[i], truth[j]):
                    continue
                dot = sum(a * b for a, b in zip(one, other))
                norms = [math.sqrt(sum(v * v for v in t))
                         for t in (one, other)]
                kind = int(truth[i] != truth[j])
                sums[kind] += abs(dot) / norms[0] / norms[1]
                counts[kind] += 1
    alike, different = (s / (c + 1) for s, c in zip(sums, counts))
    return 0.5 * (1 - alike) + 0.5 * different


def random_tokens(n=3, d=5, h=3, w=4):
    torch.manual_seed(0)
    feats = torch.randn(n, d, h, w)
    labels = torch.tensor([0, 2, 255, 3])[torch.randint(4, (n, h, w))]
    return feats, labels


@pytest.mark.parametrize('labels', [
    None,
    [[0, 0], [0, 0]],
    [[1, 255], [255, 255]],
    [[255, 255], [255, 255]],
    [[0, 1], [255, 2]],
])
def test_contrast_follows_the_formula(labels):
    feats, random_labels = random_tokens()
    if labels is None:
        labels = random_labels
    else:
        labels = torch.tensor(labels)[None]
        feats = feats[:1, :, :2, :2]
    assert float(patch_token_contrast(feats, labels)) == pytest.approx(
        plain(feats, labels), abs=1e-6)


def test_a_step_makes_alike_what_is_labelled_alike():
    feats, labels = random_tokens(n=1)
    feats.requires_grad_()
    patch_token_contrast(feats, labels).backward()
    unknown = (labels == 255)[:, None].expand_as(feats)
    assert unknown.any() and not feats.grad[unknown].any()
    assert feats.grad[~unknown].any()
    moved = feats.detach() - 0.5 * feats.grad
    assert plain(moved, labels) < plain(feats.detach(), labels)


def test_half_precision_is_left():
    feats, labels = random_tokens()
    with torch.autocast('cpu', torch.bfloat16):
        found = patch_token_contrast(feats.bfloat16(), labels)
    assert found.dtype == torch.float32
    assert_close(found, patch_token_contrast(feats.bfloat16().float(), labels))


def fused(n=2, k=2, h=8, w=12, ids=((0, 3), (2, -1))):
    torch.manual_seed(1)
    maps = torch.rand(n, k, h, w)
    class_ids = torch.tensor(ids)
    maps[class_ids < 0] = 0
    return FusedCAMs(class_ids, torch.full_like(maps, 0.5), maps)


def test_labels_of_patches():
    maps = fused()
    valid = torch.ones(2, 8, 12, dtype=torch.bool)
    valid[0, :, 6:] = False
    labels = patch_labels(maps, (2, 3), valid, 0.55, 0.45)
    smaller = torch.nn.functional.interpolate(
        maps.auxiliary, size=(2, 3), mode='bilinear')
    seen = set()
    for n in range(2):
        for y in range(2):
            for x in range(3):
                scores = smaller[n, :, y, x].tolist()
                best = max(scores)
                expected = 255
                if best >= 0.55:
                    expected = maps.class_ids[n][scores.index(best)] + 1
                elif best <= 0.45:
                    expected = 0
                if n == 0 and x == 2:
                    expected = 255
                assert labels[n, y, x] == expected, (n, y, x)
                seen.add(int(expected))
    # Half of the pixels of the middle patch are outside: it counts.
    assert labels[0, 0, 1] != 255 or labels[0, 1, 1] != 255
    assert len(seen) > 2


def test_labels_without_any_class():
    maps = FusedCAMs(
        torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, 8, 8),
        torch.zeros(2, 0, 8, 8))
    labels = patch_labels(maps, (2, 2), torch.ones(2, 8, 8) > 0, 0.7, 0.25)
    assert labels.tolist() == [[[0, 0], [0, 0]]] * 2


def a_pair():
    feats = torch.randn(2, 5, 2, 3, generator=torch.manual_seed(2))
    view = ViewOutput(
        torch.zeros(2, 3, 8, 12),
        fields=dict(feats=(torch.zeros(1), feats), fused_cams=fused()))
    samples = [SegDataSample(), SegDataSample()]
    mask = torch.ones(1, 8, 12, dtype=torch.uint8)
    mask[..., 6:] = 0
    samples[0].valid_mask = PixelData(data=mask)
    return ViewPair(view, data_samples=samples), feats, mask


def test_regularizer():
    pair, feats, mask = a_pair()
    regularizer = MODELS.build(
        dict(
            type='mmwsss.PatchTokenContrast',
            fg_threshold=0.55,
            bg_threshold=0.45,
            loss_weight=3.))
    terms = regularizer(pair)
    assert set(terms) == {'loss_patch'}
    valid = torch.cat((mask > 0, torch.ones(1, 8, 12) > 0))
    labels = patch_labels(pair.first.fused_cams, (2, 3), valid, 0.55, 0.45)
    assert float(terms['loss_patch']) == pytest.approx(
        3 * plain(feats, labels), abs=1e-6)
    everywhere = patch_labels(pair.first.fused_cams, (2, 3),
                              torch.ones(2, 8, 12) > 0, 0.55, 0.45)
    assert not torch.equal(labels, everywhere)


def test_start():
    hub = MessageHub.get_instance('test_patch_token_contrast')
    try:
        pair, _, _ = a_pair()
        regularizer = MODELS.build(
            dict(type='mmwsss.PatchTokenContrast', start=0.4))
        hub.update_info('max_iters', 5)
        seen = []
        for done in range(5):
            hub.update_info('iter', done)
            seen.append(bool(regularizer(pair)))
        assert seen == [False, False, True, True, True]
    finally:
        MessageHub._instance_dict.pop('test_patch_token_contrast')


@pytest.mark.parametrize('settings, message', [
    (dict(fg_threshold=0.2), 'bg_threshold .0.25. must lie in'),
    (dict(start=2.), 'start is a share'),
])
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='mmwsss.PatchTokenContrast', **settings))
