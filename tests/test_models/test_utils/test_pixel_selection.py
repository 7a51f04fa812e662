import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.utils.pixel_selection import (
    hard_pixels,
    own_scores,
    pixel_entropy,
    scores_from_logits,
    scores_from_maps,
    select_queries,
    sure_pixels,
)

NUM_CLASSES = 4


def softmax(values):
    weights = [math.exp(v) for v in values]
    return [w / sum(weights) for w in weights]


def each_pixel(maps):
    """(image, row, column, values of the planes) of maps (N, C, h, w)."""
    n, _, h, w = maps.shape
    for i in range(n):
        for y in range(h):
            for x in range(w):
                yield i, y, x, maps[i, :, y, x].tolist()


def test_scores_from_logits():
    torch.manual_seed(0)
    logits = 3 * torch.randn(3, NUM_CLASSES + 1, 4, 5)
    tags = torch.zeros(3, NUM_CLASSES)
    tags[0, [0, 2]] = tags[1] = 1  # two classes, all, none
    prob, scores, labels = scores_from_logits(logits, tags)
    for i, y, x, values in each_pixel(logits):
        assert_close(prob[i, :, y, x], torch.tensor(softmax(values)))
    for i in range(3):
        allowed = [0] + [c + 1 for c in range(NUM_CLASSES) if tags[i, c]]
        for c in range(NUM_CLASSES + 1):
            p = prob[i, c]
            assert_close(scores[i, c],
                         (p - p.min()) / (p.max() - p.min() + 1e-5))
        for y in range(4):
            for x in range(5):
                best = max(allowed, key=lambda c: float(scores[i, c, y, x]))
                assert labels[i, y, x] == best
    free = scores_from_logits(logits)
    assert torch.equal(free.labels, scores.argmax(dim=1))
    assert not torch.equal(free.labels, labels)
    assert (labels[2] == 0).all()


def test_scores_from_maps():
    torch.manual_seed(0)
    maps = torch.randn(3, NUM_CLASSES, 4, 5)
    maps[0, 0] = -1  # nothing positive
    maps[1, 1] = 2 + torch.rand(4, 5)  # nothing near zero
    maps[1, 2] = 7  # constant
    tags = torch.zeros(3, NUM_CLASSES)
    tags[0, [0, 2]] = tags[1] = 1
    prob, scores, labels = scores_from_maps(maps, tags, 0.2)
    assert_close(scores[:, 0], torch.full((3, 4, 5), 0.2))
    assert_close(scores[0, 1], torch.full((4, 5), -1.))
    for i in range(3):
        for c in range(NUM_CLASSES):
            a = maps[i, c].clamp(min=0)
            low, high = float(a.min()), float(a.max())
            a = torch.where(a < low + 1e-5, 0, a)
            assert_close(scores[i, c + 1],
                         (a - low - 1e-5) / (high - low + 1e-5))
    for i, y, x, values in each_pixel(scores):
        entering = [values[0]] + [
            v * float(t) for v, t in zip(values[1:], tags[i])]
        expected = softmax(entering)
        assert_close(prob[i, :, y, x], torch.tensor(expected))
        assert labels[i, y, x] == expected.index(max(expected))
    assert (labels[2] == 0).all()


def looped_sure(scores, labels, ratio):
    """Pixel by pixel, and the thresholds."""
    n, planes = scores.shape[:2]
    sure = torch.zeros_like(labels, dtype=torch.bool)
    thresholds = torch.full((n, planes), math.inf)
    for i in range(n):
        for c in range(1, planes):
            own = scores[i, c][labels[i] == c]
            values = sorted(v for v in own.tolist() if v > 0.05)
            if values:
                bound = values[int(len(values) * ratio)]
                thresholds[i, c] = bound
                sure[i] |= (labels[i] == c) & (scores[i, c] > bound)
    return sure, thresholds


@pytest.mark.parametrize('ratio', [0., 0.4, 0.6, 0.99])
@pytest.mark.parametrize('size', [(6, 9), (1, 1), (2, 1)])
def test_sure_pixels(ratio, size):
    torch.manual_seed(0)
    scores = torch.rand(4, NUM_CLASSES + 1, *size) - 0.2
    scores[2] = (5 * scores[2]).round() / 5  # ties
    labels = torch.randint(NUM_CLASSES + 1, (4, *size))
    labels[3] = 0
    sure, thresholds = sure_pixels(scores, labels, ratio)
    expected, bounds = looped_sure(scores, labels, ratio)
    assert torch.equal(sure, expected)
    assert torch.equal(thresholds, bounds)
    if size == (6, 9) and ratio < 0.9:
        assert 0 < sure.float().mean() < 1
    assert torch.equal(own_scores(scores, labels)[0, 0, 0],
                       scores[0, labels[0, 0, 0], 0, 0])


def test_nothing_scores():
    labels = torch.ones(2, 3, 3, dtype=torch.int64)
    scores = torch.full((2, 3, 3, 3), 0.05)
    sure, thresholds = sure_pixels(scores, labels, 0.4)
    assert not sure.any()
    assert thresholds.isinf().all()


def test_entropy():
    prob = torch.tensor([[1., 0, 0, 0], [.25, .25, .25, .25],
                         [.75, .25, 0, 0]]).T.view(1, 4, 1, 3)
    expected = [0, math.log(4), -.75 * math.log(.75) - .25 * math.log(.25)]
    assert_close(pixel_entropy(prob).flatten(), torch.tensor(expected))


def test_equal_positions_have_equal_entropy():
    torch.manual_seed(0)
    some = torch.randn(81).softmax(dim=0)
    prob = torch.stack([some[torch.randperm(81)] for _ in range(35)], dim=1)
    entropy = pixel_entropy(prob.view(1, 81, 5, 7))
    assert len(entropy.unique()) == 1
    hard, _ = hard_pixels(entropy, torch.zeros_like(entropy).bool(), 0.25)
    assert not hard.any()


def test_hard_pixels():
    entropy = torch.arange(11.).view(1, 1, 11)
    entropy = torch.cat((entropy, 10 * entropy))
    sure = torch.zeros(2, 1, 11, dtype=torch.bool)
    sure[..., 9] = True
    hard, bounds = hard_pixels(entropy, sure, 0.25)
    assert bounds.tolist() == [2.5, 25]
    for row in hard[:, 0]:
        assert row.nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7, 8, 10]


def test_queries_class_after_class():
    labels = torch.tensor([2, 0, 1, 2, 1, 3, 2])
    hard = torch.tensor([1, 1, 1, 0, 1, 0, 1]).bool()
    assert select_queries(labels, hard).tolist() == [2, 4, 0, 6]
    assert select_queries(labels, hard, 2).tolist() == [2, 4, 0, 6]
    assert select_queries(labels, ~hard & (labels == 0), 2).tolist() == []


def test_at_most_so_many_of_a_class():
    labels = torch.randint(4, (300, ))
    hard = torch.rand(300) < 0.7
    labels[:5], hard[:5] = 3, True
    seen = torch.zeros(300)
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        rows = select_queries(labels, hard, 10, generator)
        assert hard[rows].all()
        assert torch.bincount(labels[rows]).tolist() == [0, 10, 10, 10]
        assert len(rows.unique()) == 30
        assert torch.equal(labels[rows], labels[rows].sort()[0])
        seen[rows] += 1
    eligible = hard & (labels > 0)
    share = 10 / (eligible & (labels == 3)).sum()
    assert float(seen[:5].mean()) / 60 == pytest.approx(
        float(share), abs=0.1)
    assert (seen[eligible] > 0).float().mean() > 0.95
