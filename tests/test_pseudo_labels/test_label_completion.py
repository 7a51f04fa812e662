"""Labels from maps and saliency, against the rules written out."""
import cv2
import numpy as np
import pytest
import torch

from mmwsss.pseudo_labels.label_completion import (
    LabelCompletion,
    complete_labels,
    mine,
    open_mask,
)
from mmwsss.registry import MODELS


def rules(cams, class_ids, saliency, cut, bg_power, conflict, opening):
    """Steps 1 to 4, pixel by pixel, class by class."""
    planes = dict(sorted(zip(class_ids, cams)))
    height, width = saliency.shape
    labels = np.zeros((height, width), int)
    after = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            values = [0, *(p[y, x] for p in planes.values())]
            best, score = 0, (1 - max(values))**bg_power
            for c, plane in planes.items():
                if plane[y, x] > score:
                    best, score = c + 1, plane[y, x]
            after[y, x] = saliency[y, x] > 0
            labels[y, x] = 0 if saliency[y, x] <= 0 else best or 255
    claims = np.zeros((height, width), int)
    mined = labels.copy()
    for c, plane in planes.items():
        positive = sorted(v for v in plane.flatten() if v > 0)
        if not positive:
            continue
        least = positive[int(len(positive) * cut)]
        here = (plane > least) & (labels == 0)
        mined[here & (claims == 0)] = c + 1
        claims[here] += 1
    if conflict == 'ignore':
        mined[claims > 1] = 255
    after[claims > 0] = 255
    kept = cv2.morphologyEx((mined != 0).astype(np.uint8), cv2.MORPH_OPEN,
                            np.ones((opening, opening), np.uint8))
    return np.where(kept, mined, 0), after


def smooth(rng, count, size):
    """Maps of a few blobs, zero elsewhere."""
    noise = rng.normal(0, 1, (count, *size)).astype(np.float32)
    maps = np.stack([cv2.GaussianBlur(n, (0, 0), 4) for n in noise])
    maps = np.maximum(maps, 0)
    return maps / (maps.max(axis=(1, 2), keepdims=True) + 1e-5)


CASES = [((40, 33), [5, 0, 3], .9, 32, 'ignore', 10),
         ((40, 33), [5, 0, 3], .8, 32, 'first', 10),
         ((21, 50), [1], .95, 8, 'ignore', 5),
         ((48, 48), list(range(20)), .9, 32, 'ignore', 4),
         ((48, 48), list(range(80)), .7, 32, 'first', 3),
         ((7, 6), [2, 1], .9, 32, 'ignore', 10),
         ((1, 1), [0], .9, 32, 'ignore', 1)]


@pytest.mark.parametrize('size,ids,cut,power,conflict,opening', CASES)
@pytest.mark.parametrize('salient', ['some', 'all', 'none'])
def test_against_rules(size, ids, cut, power, conflict, opening, salient):
    rng = np.random.default_rng(len(ids))
    cams = smooth(rng, len(ids), size)
    saliency = dict(
        some=np.maximum(smooth(rng, 1, size)[0] - .3, 0),
        all=np.full(size, 200.),
        none=np.zeros(size))[salient].astype(np.float32)
    expected = rules(cams, ids, saliency, cut, power, conflict, opening)
    found = complete_labels(
        torch.from_numpy(cams), torch.tensor(ids),
        torch.from_numpy(saliency), cut, power, conflict, opening)
    for ours, wanted in zip(found, expected):
        np.testing.assert_array_equal(ours.numpy(), wanted)
    if salient == 'none' and conflict == 'ignore' and len(ids) == 20:
        assert (expected[0] == 255).any()


@pytest.mark.parametrize('size', [1, 2, 3, 4, 9, 10])
def test_opening(size):
    rng = np.random.default_rng(size)
    for shape, share in (((30, 41), .97), ((30, 41), .8), ((5, 7), .95)):
        mask = (rng.random(shape) < share).astype(np.uint8)
        expected = cv2.morphologyEx(mask, cv2.MORPH_OPEN,
                                    np.ones((size, size), np.uint8))
        found = open_mask(torch.from_numpy(mask > 0), size)
        np.testing.assert_array_equal(found.numpy(), expected > 0)


def test_mining_edges():
    # Without positive values nothing, nor where all are equal.
    for value in (0., .5):
        assert not mine(torch.full((1, 3, 4), value), .9).any()
    # Of ten positive values entry 9 is the highest, and none exceeds it.
    maps = torch.zeros(1, 3, 5)
    maps.view(-1)[:10] = torch.arange(1., 11.)
    assert mine(maps, .9).sum() == 0
    assert mine(maps, .8).sum() == 1
    assert mine(maps, 0).sum() == 9
    # Nine tenths are not exactly representable in float32.
    for count in range(1, 400):
        maps = torch.arange(1., count + 1).view(1, 1, -1)
        assert mine(maps, .9).sum() == count - 1 - int(count * .9)


def test_class_less_image():
    saliency = torch.zeros(1, 20, 24)
    saliency[0, 4:16, 5:17] = 3
    none = torch.zeros(1, 0, 20, 24)
    ids = torch.zeros(1, 0, dtype=torch.int64)
    labels, after = LabelCompletion(opening=0)(none, ids, saliency)
    assert torch.equal(labels, torch.where(saliency > 0, 255, 0))
    assert torch.equal(after, (saliency > 0).float())
    # Nor do padded planes mean anything, whatever they hold.
    for fill in (.9, float('nan')):
        padded = torch.full((1, 2, 20, 24), fill)
        again, _ = LabelCompletion(opening=0)(
            padded, torch.full((1, 2), -1), saliency)
        assert torch.equal(again, labels)
    labels, after = LabelCompletion()(none, ids, None)
    assert labels.shape == (1, 20, 24) and not labels.any() and after is None


def test_without_saliency():
    cams = torch.tensor([[.1, .39, .4, .7], [.05, .2, .8, .7]])[:, None]
    model = LabelCompletion(fg_threshold=.4, bg_threshold=.1)
    labels, after = model(cams[None], torch.tensor([[4, 2]]), None)
    # A tie goes to the lower class index.
    assert labels.tolist() == [[[0, 255, 3, 3]]] and after is None
    assert labels.dtype == torch.int64


def test_batch_is_image_by_image():
    rng = np.random.default_rng(0)
    cams = torch.from_numpy(smooth(rng, 6, (24, 30))).view(3, 2, 24, 30)
    saliency = torch.from_numpy(smooth(rng, 3, (24, 30)) - .2)
    ids = torch.tensor([[1, 0], [3, -1], [-1, -1]])
    model = MODELS.build(
        dict(type='mmwsss.LabelCompletion', cut=.8, opening=3))
    cams.requires_grad_()
    labels, after = model(cams, ids, saliency)
    assert labels.dtype == torch.int64 and not after.requires_grad
    for n, count in enumerate((2, 1, 0)):
        one, mined = complete_labels(
            cams[n, :count].detach(), ids[n, :count], saliency[n], .8,
            opening=3)
        assert torch.equal(labels[n], one)
        assert torch.equal(after[n], mined)
    assert set(labels.unique().tolist()) == {0, 1, 2, 4, 255}


def test_errors():
    for settings, message in ((dict(cut=1), 'cut is 1'),
                              (dict(conflict='last'), "conflict is 'last'"),
                              (dict(opening=-1), 'opening is -1'),
                              (dict(bg_power=0), 'bg_power is 0'),
                              (dict(fg_threshold=.1), 'bg_threshold')):
        with pytest.raises(ValueError, match=message):
            LabelCompletion(**settings)
    cams, ids = torch.zeros(2, 1, 4, 5), torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r'saliency \(2, 4, 5\)'):
        LabelCompletion()(cams, ids, torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match='need class ids'):
        LabelCompletion()(cams, ids[:1])
