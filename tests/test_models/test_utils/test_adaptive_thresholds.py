"""Thresholds that follow the scores."""
import math

import numpy as np
import pytest
import torch

from mmwsss.models.utils.adaptive_thresholds import (
    NUM_BINS,
    AdaptiveThresholds,
    fit_mixture,
    mixture_thresholds,
)


def plain_mixture(values, counts, means):
    """Expectation-maximization, value by value."""
    m, total = len(means), sum(counts)
    weights, variances = [1 / m] * m, [1.] * m
    before = -math.inf
    for _ in range(100):
        shares, likelihood = [], 0.
        for value, count in zip(values, counts):
            densities = [
                w * math.exp(-(value - mu)**2 / (2 * v)) /
                math.sqrt(2 * math.pi * v)
                for w, mu, v in zip(weights, means, variances)]
            shares.append([d / sum(densities) for d in densities])
            likelihood += count * math.log(sum(densities)) / total
        for k in range(m):
            mass = sum(c * s[k] for c, s in zip(counts, shares))
            means = list(means)
            means[k] = sum(c * s[k] * v for c, s, v in zip(
                counts, shares, values)) / mass
            variances[k] = 1e-6 + sum(
                c * s[k] * (v - means[k])**2 for c, s, v in zip(
                    counts, shares, values)) / mass
            weights[k] = mass / total
        if abs(likelihood - before) < 1e-3:
            break
        before = likelihood
    return shares, weights, means, variances


def three_hills(seed=0, size=400):
    rng = np.random.default_rng(seed)
    scores = np.concatenate((rng.normal(0.15, 0.04, 2 * size),
                             rng.normal(0.45, 0.06, size),
                             rng.normal(0.85, 0.05, size)))
    return np.clip(scores, 0, 1)


def counted(scores):
    bins = np.clip((scores * NUM_BINS).astype(int), 0, NUM_BINS - 1)
    return np.bincount(bins, minlength=NUM_BINS)


def test_mixture_follows_the_formula():
    histogram = counted(three_hills())
    values = (np.arange(NUM_BINS) + 0.5) / NUM_BINS
    kept = histogram > 0
    found = fit_mixture(values[kept], histogram[kept],
                        np.array([0.1, 0.3, 0.9]))
    expected = plain_mixture(values[kept].tolist(), histogram[kept].tolist(),
                             [0.1, 0.3, 0.9])
    for ours, plain in zip(found, expected):
        assert np.allclose(ours, plain, rtol=1e-5, atol=1e-7)


def test_thresholds_lie_between_the_hills():
    low, high = mixture_thresholds(counted(three_hills()))
    assert 0.2 < low < 0.4 and 0.55 < high < 0.8
    # What is below min_score does not count.
    many = counted(three_hills())
    many[:10] += 10**6
    assert mixture_thresholds(many) == mixture_thresholds(
        np.where(np.arange(NUM_BINS) < 13, 0, many))


@pytest.mark.parametrize('scores', [[], [0.01] * 9, [0.5] * 9, [0.2, 0.5]])
def test_too_few_scores(scores):
    assert mixture_thresholds(counted(np.array(scores))) is None


def test_thresholds_move_slowly():
    module = AdaptiveThresholds(0.25, 0.7, history=2, keep=0.9)
    batches = [torch.from_numpy(three_hills(i)) for i in range(3)]
    low, high = 0.25, 0.7
    for i, scores in enumerate(batches):
        seen = sum(counted(b.numpy()) for b in batches[max(i - 1, 0):i + 1])
        found = mixture_thresholds(seen)
        low = 0.9 * low + 0.1 * found[0]
        high = 0.9 * high + 0.1 * found[1]
        assert module.update(scores.view(-1, 4)) == pytest.approx((low, high))
    # Nothing to learn from: they stay.
    empty = AdaptiveThresholds()
    assert empty.update(torch.zeros(7)) == pytest.approx((0.25, 0.7))


def test_resumed():
    whole, first = AdaptiveThresholds(history=2), AdaptiveThresholds(history=2)
    batches = [torch.from_numpy(three_hills(i)) for i in range(4)]
    expected = [whole.update(b) for b in batches]
    for b in batches[:2]:
        first.update(b)
    second = AdaptiveThresholds(history=2)
    second.load_state_dict(first.state_dict())
    assert [second.update(b) for b in batches[2:]] == expected[2:]


@pytest.mark.parametrize('settings', [
    dict(bg_threshold=0.8), dict(history=0), dict(keep=2.)])
def test_refusals(settings):
    with pytest.raises(ValueError):
        AdaptiveThresholds(**settings)
