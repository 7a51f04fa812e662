"""Refinement by proposals, against the rules written out pixel by pixel."""
import numpy as np
import pytest

from mmwsss.pseudo_labels.mask_proposals import (
    FREE,
    REJECTED,
    assign_proposals,
    deciding_proposals,
    refine_labels,
    refine_maps,
)

SIZE = (13, 17)


def rectangles(rng, count, size=SIZE):
    """Boxes of all sizes; many overlap, some lie in others."""
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        y, x = sorted(rng.integers(0, size[0] + 1, 2)), sorted(
            rng.integers(0, size[1] + 1, 2))
        mask[y[0]:y[1], x[0]:x[1]] = True
    return masks


def decisions(planes, masks, threshold, min_area):
    """Per pixel (class or None, mean), whether a proposal covers it."""
    known = []
    for order, mask in enumerate(masks):
        area = int(mask.sum())
        if area == 0 or area < min_area:
            continue
        means = [float(p[mask].astype(float).mean()) for p in planes]
        best = None
        if means and max(means) > threshold:
            best = means.index(max(means))
        known.append((area, -order, best, max(means, default=0), mask))
    found = {}
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            here = [k for k in known if k[4][y, x]]
            shown = [k for k in here if k[2] is not None]
            # The smallest, of equals the last.
            one = min(shown, key=lambda k: k[:2]) if shown else None
            found[y, x] = (one and one[2], one and one[3], bool(here))
    return found


@pytest.mark.parametrize('unassigned', ['background', 'keep'])
@pytest.mark.parametrize('seed', range(6))
def test_maps_against_rules(seed, unassigned):
    rng = np.random.default_rng(seed)
    cams = rng.random((3, *SIZE)).astype(np.float32)**2
    # Some proposals must have a class, some not.
    cams[seed % 3, 3:9, 4:12] += .5
    cams = cams.clip(max=1)
    masks = rectangles(rng, 12)
    before = cams.copy()
    out = refine_maps(cams, masks, .45, unassigned, 6)
    assert out.dtype == np.float32 and np.array_equal(cams, before)
    kinds = set()
    for (y, x), (best, mean, covered) in decisions(cams, masks, .45,
                                                   6).items():
        expected = cams[:, y, x]
        if best is not None:
            expected = np.zeros(3)
            expected[best] = mean
        elif covered and unassigned == 'background':
            expected = np.zeros(3)
        kinds.add((best is not None, covered))
        np.testing.assert_allclose(out[:, y, x], expected, atol=1e-6)
    assert kinds == {(True, True), (False, True), (False, False)}


@pytest.mark.parametrize('unassigned', ['background', 'keep'])
@pytest.mark.parametrize('seed', range(6))
def test_labels_against_rules(seed, unassigned):
    rng = np.random.default_rng(100 + seed)
    labels = rng.choice([0, 3, 20, 255], SIZE, p=[.5, .2, .2, .1])
    labels[2:9, 3:9], labels[5:12, 9:15] = 3, 20
    labels = labels.astype(np.uint8)
    masks = rectangles(rng, 12)
    out = refine_labels(labels, masks, .5, unassigned, 6)
    assert out.dtype == np.uint8
    planes = np.stack([labels == 3, labels == 20])
    kinds = set()
    for (y, x), (best, _, covered) in decisions(planes, masks, .5,
                                                6).items():
        expected = labels[y, x]
        if best is not None:
            expected = (3, 20)[best]
        elif covered and unassigned == 'background':
            expected = 0
        kinds.add((best is not None, covered))
        assert out[y, x] == expected
    assert kinds == {(True, True), (False, True), (False, False)}


def test_an_object_and_its_parts():
    # A CAM shows the head only; the body has a proposal of its own.
    cams = np.zeros((1, 1, 10), np.float32)
    cams[0, 0, :4] = 1
    whole, head, body, sky = np.zeros((4, 1, 10), bool)
    whole[:, :8], head[:, :4], body[:, 4:8], sky[:, 8:] = True, True, 1, 1
    masks = np.stack((head, body, whole, sky))
    out = refine_maps(cams, masks, .4)
    # The body lies in the whole, which has a class.
    assert out[0, 0].tolist() == [1] * 4 + [.5] * 4 + [0] * 2
    assert not refine_maps(cams, masks, .6)[0, 0, 4:].any()
    labels = (cams[0] > .5).astype(np.uint8)
    assert refine_labels(labels, masks, .4)[0].tolist() == [1] * 8 + [0, 0]


def test_ties():
    masks = np.zeros((3, 1, 4), bool)
    masks[0, 0, :2] = masks[1, 0, 1:3] = masks[2, 0, :3] = True
    # Equal areas: the later one. What only lost counts as rejected.
    assert deciding_proposals(
        masks, np.array([True, True, False])).tolist() == [[0, 1, 1, FREE]]
    assert deciding_proposals(
        masks, np.array([True, False, False])).tolist() == [[
            0, 0, REJECTED, FREE
        ]]
    # Equal means: the first class. At the threshold: none.
    planes = np.full((2, 1, 4), .5, np.float32)
    best, scores = assign_proposals(planes, masks, .25)
    assert best.tolist() == [0, 0, 0] and scores.tolist() == [.5] * 3
    assert assign_proposals(planes, masks, .5)[0].tolist() == [-1] * 3


def test_nothing_there():
    cams = np.random.default_rng(0).random((2, *SIZE)).astype(np.float32)
    labels = np.full(SIZE, 255, np.uint8)
    labels[:3] = 7
    none = np.zeros((0, *SIZE), bool)
    for masks in (none, np.zeros((2, *SIZE), bool)):
        assert np.array_equal(refine_maps(cams, masks), cams)
        assert np.array_equal(refine_labels(labels, masks), labels)
    everything = np.ones((1, *SIZE), bool)
    # No class, no map: all that proposals cover is background.
    assert refine_maps(cams[:0], everything).shape == (0, *SIZE)
    assert not refine_labels(
        np.zeros(SIZE, np.uint8), everything).any()
    # Ignored pixels cover nothing, and are kept where nobody decides.
    ignored = np.full(SIZE, 255, np.uint8)
    assert not refine_labels(ignored, everything).any()
    assert (refine_labels(ignored, everything, unassigned='keep') == 255).all()
    # Too small to be looked at.
    assert np.array_equal(
        refine_maps(cams, everything, 0., min_area=222), cams)


def test_last_label():
    labels = np.full(SIZE, 254, np.uint8)
    out = refine_labels(labels, np.ones((1, *SIZE), bool))
    assert (out == 254).all()


def test_errors():
    cams, masks = np.zeros((1, 4, 5), np.float32), np.ones((1, 5, 4), bool)
    with pytest.raises(ValueError, match=r'\(5, 4\).*\(4, 5\)'):
        refine_maps(cams, masks)
    with pytest.raises(ValueError, match=r'\(5, 4\).*\(4, 5\)'):
        refine_labels(np.zeros((4, 5), np.uint8), masks)
    with pytest.raises(ValueError, match="unassigned is 'drop'"):
        refine_maps(cams, np.ones((1, 4, 5), bool), unassigned='drop')
