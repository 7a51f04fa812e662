"""Masks from CAMs, against the rules written out pixel by pixel."""
import numpy as np
import pytest
import torch

from mmwsss.pseudo_labels import complete_labels
from mmwsss.pseudo_labels.dense_crf import DenseCRF
from mmwsss.pseudo_labels.transforms import (
    CompleteLabels,
    CRFMask,
    IRNLabel,
    ScoreMask,
    ThresholdMask,
)
from mmwsss.pseudo_labels.transforms.pseudo_masks import (
    confident_label,
    softmax,
)
from mmwsss.registry import TRANSFORMS

from .test_crf import SIZE, Recorder, sample


def test_threshold():
    results = sample()
    results['cams'][:, 0, 0] = .4  # A tie of all three: background.
    results['cams'][:, 0, 1] = .5  # A tie of the classes: the first.
    mask = TRANSFORMS.build(
        dict(type='mmwsss.ThresholdMask',
             threshold=.4))(results)['pseudo_mask']
    assert mask.dtype == np.uint8
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            one, two = results['cams'][:, y, x]
            expected = 0 if max(one, two) <= np.float32(.4) else (
                1 if one >= two else 3)  # class_ids are 0 and 2
            assert mask[y, x] == expected


def test_threshold_extremes():
    mask = ThresholdMask(threshold=1.)(sample())['pseudo_mask']
    assert not mask.any()
    mask = ThresholdMask(threshold=0.)(sample())['pseudo_mask']
    assert set(np.unique(mask)) == {1, 3}
    mask = ThresholdMask(threshold=0.)(sample(0))['pseudo_mask']
    assert mask.shape == SIZE and not mask.any()


@pytest.mark.parametrize('high, low', [(.5, .25), (.4, .4), (1., 0.)])
def test_only_sure_pixels(high, low):
    results = sample()
    # Exactly at a threshold: unsure at the upper one, sure at the lower one.
    results['cams'][:, 0, 0] = high
    results['cams'][:, 0, 1] = low
    results['cams'][:, 0, 2] = 0
    mask = ThresholdMask(high, low=low)(results)['pseudo_mask']
    assert mask.dtype == np.uint8
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            one, two = results['cams'][:, y, x]
            top = max(one, two)
            expected = 255
            if top > np.float32(high):
                expected = 1 if one >= two else 3
            elif top <= np.float32(low):
                expected = 0
            assert mask[y, x] == expected
    # Without any class everything is sure to be background.
    assert not ThresholdMask(high, low=low)(sample(0))['pseudo_mask'].any()


def test_only_sure_pixels_settings():
    with pytest.raises(ValueError, match='low is 0.6, above threshold'):
        ThresholdMask(.5, low=.6)
    with pytest.raises(ValueError, match='low is -0.1'):
        ThresholdMask(.5, low=-.1)
    assert 'low=0.2' in repr(ThresholdMask(.5, low=.2))


def test_highest_class():
    # The last of 254 classes does not become the ignored value.
    results = sample(1)
    results['class_ids'] = np.array([253])
    mask = ThresholdMask(threshold=0.)(results)['pseudo_mask']
    assert (mask == 254).all()


@pytest.mark.parametrize('kwargs,scores', [
    (dict(threshold=.15), lambda c: np.stack((np.full(SIZE, .15), *c))),
    (dict(threshold=.15, softmax=True),
     lambda c: np.exp(np.stack((np.full(SIZE, .15), *c)))),
    (dict(alpha=6), lambda c: np.stack(((1 - c.max(axis=0))**6, *c))),
])
def test_crf_mask_energies(kwargs, scores):
    transform = TRANSFORMS.build(dict(type='mmwsss.CRFMask', **kwargs))
    transform.crf = Recorder()
    results = transform(sample())
    probs = scores(results['cams'])
    if 'softmax' in kwargs:
        probs /= probs.sum(axis=0)
    np.testing.assert_allclose(
        transform.crf.unaries[0],
        -np.log(np.maximum(probs, 1e-5)),
        rtol=1e-4,
        atol=1e-5)
    expected = np.array([0, 1, 3])[probs.argmax(axis=0)]
    assert np.array_equal(results['pseudo_mask'], expected)


def test_crf_mask():
    # Two flat halves of the image, with CAMs that hesitate.
    results = sample(1)
    results['img'][:, :8], results['img'][:, 8:] = 20, 220
    results['cams'][0] = .2
    results['cams'][0, :, :8] = .7
    results['cams'][0, 5, 3] = .1
    results['class_ids'] = np.array([4])
    mask = CRFMask(threshold=.4)(results)['pseudo_mask']
    assert (mask[:, :8] == 5).all() and not mask[:, 8:].any()
    assert not CRFMask(alpha=4)(sample(0))['pseudo_mask'].any()


def test_score_mask():
    scores = np.zeros((3, 2, 2), np.float32)
    scores[[0, 1, 2, 2], [0, 0, 1, 1], [0, 1, 0, 1]] = 1
    results = dict(
        img_id='a', crf_scores={4: scores}, class_ids=np.array([1, 7]))
    mask = ScoreMask(4)(dict(results))['pseudo_mask']
    assert mask.tolist() == [[0, 2], [8, 8]] and mask.dtype == np.uint8
    with pytest.raises(KeyError, match=r'Image a .*alpha 8, only of .4'):
        ScoreMask(8)(dict(results))
    with pytest.raises(KeyError, match='CRFScores'):
        ScoreMask(8)(dict(img_id='a'))


def test_softmax():
    scores = np.array([[[1000.]], [[999.]]], np.float32)
    np.testing.assert_allclose(
        softmax(scores).ravel(), [1 / (1 + np.exp(-1)), 1 / (1 + np.e)],
        rtol=1e-6)


def test_confident_label():
    strict = np.array([[3, 3, 0, 0]], np.uint8)
    loose = np.array([[3, 0, 0, 3]], np.uint8)
    assert confident_label(strict, loose).tolist() == [[3, 3, 0, 255]]
    # Labels whose sum is 256 are not both background.
    both = np.array([[128]], np.uint8)
    assert confident_label(both, both).tolist() == [[128]]


def test_irn_label():
    results = sample()
    results['cams'] **= 3
    out = TRANSFORMS.build(dict(type='mmwsss.IRNLabel'))(results)
    crf = DenseCRF(10, 3, 3, 50, 5, 10)
    image = np.ascontiguousarray(results['img'][..., ::-1])
    values = np.array([0, 1, 3])
    masks = []
    for threshold in (.3, .05):
        planes = np.stack((np.full(SIZE, threshold), *results['cams']))
        shown = planes.argmax(axis=0)
        energy = np.full((3, *SIZE), -np.log(.3 / 2), np.float32)
        for label in range(3):
            energy[label][shown == label] = -np.log(.7)
        masks.append(values[crf(image, energy).argmax(axis=0)])
    expected = np.where(
        masks[0] > 0, masks[0],
        np.where((masks[0] == 0) & (masks[1] == 0), 0, 255))
    assert np.array_equal(out['pseudo_mask'], expected)
    assert {0, 255} & set(np.unique(expected)), 'nothing to see here'


def test_irn_label_class_less():
    mask = IRNLabel()(sample(0))['pseudo_mask']
    assert mask.shape == SIZE and mask.dtype == np.uint8 and not mask.any()


def test_irn_settings():
    default = IRNLabel().crf
    assert (default.bilateral_sxy, default.bilateral_srgb) == (50, 5)
    changed = IRNLabel(crf=dict(bilateral_sxy=60)).crf
    assert (changed.bilateral_sxy, changed.bilateral_srgb) == (60, 5)


def test_completed_labels():
    results = sample()
    results['cams'] *= .6  # As PAMR lowers them.
    saliency = np.zeros(SIZE, np.uint8)
    saliency[2:9, 3:11] = 1
    transform = TRANSFORMS.build(
        dict(type='mmwsss.CompleteLabels', cut=.8, opening=2))
    mask = transform({**results, 'gt_saliency': saliency})['pseudo_mask']
    norm = np.stack([c / (c.max() + 1e-5) for c in results['cams']])
    expected, _ = complete_labels(
        torch.from_numpy(norm.astype(np.float32)),
        torch.tensor([0, 2]), torch.from_numpy(saliency), .8, opening=2)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected.numpy())
    assert {0, 1, 3, 255} == set(np.unique(mask))
    # Without saliency two thresholds decide, on the same normalised maps.
    mask = CompleteLabels(
        fg_threshold=.7, bg_threshold=.5)(results)['pseudo_mask']
    best = np.array([1, 3])[norm.argmax(axis=0)]
    expected = np.where(
        norm.max(axis=0) >= .7, best,
        np.where(norm.max(axis=0) <= .5, 0, 255))
    assert np.array_equal(mask, expected)


def test_completed_labels_class_less():
    results = dict(sample(0), gt_saliency=np.ones(SIZE, np.uint8))
    assert (CompleteLabels()(results)['pseudo_mask'] == 255).all()
    assert not CompleteLabels()(sample(0))['pseudo_mask'].any()


def test_completed_labels_errors():
    with pytest.raises(ValueError, match='Image a.*saliency map is'):
        CompleteLabels()(dict(sample(), gt_saliency=np.ones((3, 4))))
    with pytest.raises(KeyError, match='Image a.*LoadCAMs'):
        CompleteLabels()(dict(img_id='a'))


@pytest.mark.parametrize('build', [
    lambda: ThresholdMask(threshold=1.2),
    lambda: ThresholdMask(threshold=float('nan')),
    lambda: CRFMask(),
    lambda: CRFMask(threshold=.1, alpha=4),
    lambda: CRFMask(alpha=0),
    lambda: CRFMask(threshold=-1),
    lambda: IRNLabel(fg_threshold=.1, bg_threshold=.2),
    lambda: IRNLabel(gt_prob=1),
    lambda: CompleteLabels(cut=1.),
    lambda: CompleteLabels(conflict='both'),
])
def test_bad_settings(build):
    with pytest.raises(ValueError):
        build()
