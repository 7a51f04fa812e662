"""The histogram against scoring each threshold alone."""
import numpy as np
import pytest
import torch

from mmwsss.evaluation import (
    ScoreBins,
    best_class,
    curve_from_confusion,
    curve_from_histogram,
    score_histogram,
)

CENTS = np.arange(0, 1, 0.01)


def histogram(cams, ids, gt, thresholds, num_classes):
    bins = ScoreBins(thresholds)
    dense = np.zeros((num_classes + 1, num_classes, len(bins) + 1), np.int64)
    score, best = best_class(cams)
    index, count = score_histogram(score, best, torch.as_tensor(ids).long(),
                                   gt.flatten(), bins, num_classes)
    assert index.dtype == count.dtype == np.int32
    assert len(np.unique(index)) == len(index)
    dense.reshape(-1)[index] = count
    return dense


def rescore(cams, ids, gt, t, num_classes):
    """Argmax over background and all classes, then a confusion matrix."""
    scores = np.zeros((num_classes + 1, *gt.shape), np.float32)
    scores[0] = t
    for c, cam in zip(ids, cams):
        scores[c + 1] = cam
    prediction = scores.argmax(axis=0)
    confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for g, p in zip(gt.flatten(), prediction.flatten()):
        if g != 255:
            confusion[g, p] += 1
    return confusion


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('absent', ['ignore', 'zero'])
def test_equals_rescoring(seed, absent):
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(5, seed, replace=False))
    cams = rng.random((seed, 9, 11), dtype=np.float32)
    # Values on the thresholds, ties between classes, zeros and ones.
    cams = np.where(rng.random(cams.shape) < .5,
                    (cams * 100).round().astype(np.float32) / 100, cams)
    cams[:, 0] = 0
    cams[:, 1] = 1
    cams[:, 2] = cams[:1, 2]
    gt = rng.choice([0, *(ids + 1), 4, 255], (9, 11))
    dense = histogram(
        torch.from_numpy(cams), ids, torch.from_numpy(gt), CENTS, 5)
    assert dense.sum() == (gt != 255).sum()
    curve = curve_from_histogram(dense, absent)
    for i, t in enumerate(CENTS):
        one = curve_from_confusion(rescore(cams, ids, gt, t, 5), absent)
        for name in ('tp', 'fp', 'fn', 'iou'):
            np.testing.assert_array_equal(
                getattr(curve, name)[i],
                getattr(one, name)[0], f'{name} at {t}')
        for name in ('miou', 'mfp', 'mfn'):
            assert getattr(curve, name)[i] == getattr(one, name)[0]


def test_shares_of_a_class_add_up():
    confusion = np.array([[5, 2, 1], [3, 4, 0], [0, 1, 7]])
    curve = curve_from_confusion(confusion)
    np.testing.assert_allclose(curve.iou[0], [500 / 11, 400 / 10, 700 / 9])
    np.testing.assert_allclose(
        curve.mfp + curve.mfn + curve.iou[:, 1:].mean(axis=1), 100)
    np.testing.assert_allclose(curve.mfp, 100 * (3 / 10 + 1 / 9) / 2)


def test_absent_classes():
    # Class 1 is predicted but nowhere labelled, class 3 neither.
    confusion = np.zeros((4, 4), np.int64)
    confusion[0, 0], confusion[0, 1], confusion[2, 2] = 3, 1, 2
    one = curve_from_confusion(confusion, absent='unlabelled')
    np.testing.assert_array_equal(one.iou, [[75, 0, 100, np.nan]])
    assert one.miou[0] == 87.5 and one.mfp[0] == 0 and one.mfn[0] == 0
    assert curve_from_confusion(confusion).miou[0] == 175 / 3
    assert curve_from_confusion(confusion).mfp[0] == 50
    confusion = np.diag([4, 0, 2])
    assert curve_from_confusion(confusion).miou[0] == 100
    assert np.isnan(curve_from_confusion(confusion).iou[0, 1])
    zero = curve_from_confusion(confusion, 'zero')
    np.testing.assert_allclose(zero.miou[0], 200 / 3)
    nothing = curve_from_confusion(np.zeros((3, 3)))
    assert np.isnan(nothing.miou[0]) and np.isnan(nothing.mfp[0])


@pytest.mark.parametrize('thresholds', [
    CENTS, [0.], [1.], [0.3], [0., 1.],
    np.linspace(0, 1, 1001),
    np.linspace(0.5, 0.5002, 200),
    [0.4, np.nextafter(np.float32(0.4), np.float32(1))]
])
def test_bins_are_exact(thresholds):
    bins = ScoreBins(thresholds)
    values = bins.values.numpy()
    rng = np.random.default_rng(0)
    score = np.concatenate([
        rng.random(2000, dtype=np.float32), values,
        np.nextafter(values, np.float32(2)),
        np.nextafter(values, np.float32(-1)).clip(0), [0, 1, 1.0001]
    ]).astype(np.float32)
    score = np.abs(score)
    np.testing.assert_array_equal(
        bins(torch.from_numpy(score)),
        np.searchsorted(values, score, side='left'))


def test_many_close_thresholds_fall_back():
    assert ScoreBins(CENTS).shift == 16
    assert ScoreBins(np.linspace(0.5, 0.5002, 200)).shift is None


@pytest.mark.parametrize('thresholds, match', [
    ([], 'at least one'),
    (0.5, 'at least one'),
    ([0.2, 0.1], 'must increase'),
    ([0.1, 0.1 + 1e-12], 'must increase'),
    ([-0.1], r'in \[0, 1\]'),
    ([np.nan], r'in \[0, 1\]'),
    ([0.5, 1.5], r'in \[0, 1\]'),
])
def test_bad_thresholds(thresholds, match):
    with pytest.raises(ValueError, match=match):
        ScoreBins(thresholds)


def test_best_class():
    cams = torch.tensor([[[.1, .5, -0.]], [[.1, .7, -0.]]])
    score, best = best_class(cams)
    assert best.tolist() == [0, 1, 0]
    assert not torch.signbit(score).any()
    score, best = best_class(torch.zeros(0, 2, 3))
    assert score.shape == best.shape == (6, )
    assert best.dtype == torch.int64
    for bad in (np.nan, 1.5, np.inf):
        with pytest.raises(ValueError, match=r'must lie in \[0, 1\]'):
            best_class(torch.tensor([[[0.5, bad]]]))
    with pytest.raises(ValueError, match='must lie in'):
        best_class(torch.tensor([[[0.5, -0.2]]]))


def test_does_not_change_its_input():
    cams = torch.tensor([[[-0., 0.5]]])
    best_class(cams)[0].add_(1)
    assert cams.tolist() == [[[0, 0.5]]] and torch.signbit(cams[0, 0, 0])


@pytest.mark.parametrize('label, match', [
    (3, r'labels \[3\], allowed are 0 \(background\), 1\.\.2'),
    (254, r'labels \[254\]'), (-1, r'labels -1\.\.'), (256, r'\.\.256')])
def test_bad_labels(label, match):
    gt = torch.tensor([[0, 255, label]])
    with pytest.raises(ValueError, match=match):
        histogram(torch.rand(1, 1, 3), [1], gt, CENTS, 2)


def test_other_ignore_index():
    score, best = best_class(torch.ones(1, 1, 3))
    _, count = score_histogram(score, best, torch.tensor([0]),
                               torch.tensor([0, 7, 1]), ScoreBins([.5]), 1, 7)
    assert count.sum() == 2
