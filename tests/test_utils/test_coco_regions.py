import numpy as np
import pytest

from mmwsss.utils.coco_regions import paint_region, parse_region


def paint(segmentation, height, width):
    mask = np.zeros((height, width), np.uint8)
    paint_region(mask, parse_region(segmentation), 7)
    assert set(np.unique(mask)) <= {0, 7}
    return (mask == 7).astype(int).tolist()


def box(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def test_whole_pixels():
    assert paint([box(1, 1, 4, 3)], 4, 6) == [[0, 0, 0, 0, 0, 0],
                                              [0, 1, 1, 1, 0, 0],
                                              [0, 1, 1, 1, 0, 0],
                                              [0, 0, 0, 0, 0, 0]]
    # The other way round, and beginning elsewhere.
    turned = np.reshape(box(1, 1, 4, 3), (4, 2))
    for points in (turned[::-1], np.roll(turned, 1, 0)):
        assert paint([points.ravel().tolist()], 4, 6) == paint(
            [box(1, 1, 4, 3)], 4, 6)


def test_parts_of_pixels():
    """A pixel counts from its middle on; outlines are fifths of pixels."""
    assert paint([box(0.4, 0, 2.4, 1)], 1, 4) == [[1, 1, 0, 0]]
    assert paint([box(0.6, 0, 2.6, 1)], 1, 4) == [[0, 1, 1, 0]]
    assert paint([box(0, 0.4, 1, 2.4)], 4, 1) == [[1], [1], [0], [0]]
    assert paint([box(0, 0.6, 1, 2.6)], 4, 1) == [[0], [1], [1], [0]]
    # Too thin for any.
    assert paint([box(0.6, 0, 0.9, 1)], 1, 2) == [[0, 0]]


def test_outlines_cut_by_the_border():
    assert paint([box(-5, -5, 2, 1)], 2, 3) == [[1, 1, 0], [0, 0, 0]]
    assert paint([box(1, 1, 50, 50)], 2, 3) == [[0, 0, 0], [0, 1, 1]]
    assert paint([box(-9, -9, 50, 50)], 2, 3) == [[1] * 3] * 2
    assert paint([box(7, 0, 9, 2)], 2, 3) == [[0] * 3] * 2


def test_triangle():
    """Column x is hit in its middle, 10 - 2.5 * 0.5 ... above the base."""
    found = np.array(paint([[0, 10, 4, 0, 4, 10]], 10, 4))
    assert found.sum(axis=0).tolist() == [1, 4, 6, 9]
    assert (np.diff(found, axis=0) >= 0).all(), 'filled down to the base'


def test_several_polygons_are_one_region():
    """Where they overlap nothing is turned inside out again."""
    assert paint([box(0, 0, 2, 1), box(1, 0, 4, 1)], 1, 5) == [[1, 1, 1, 1, 0]]
    # Within one outline the inside is what an odd number of edges encloses.
    ring = [0, 0, 5, 0, 5, 5, 0, 5, 0, 0, 2, 2, 2, 3, 3, 3, 3, 2, 2, 2]
    found = np.array(paint([ring], 5, 5))
    assert found[2, 2] == 0 and found.sum() == 24


def test_nothing():
    assert paint([], 1, 2) == [[0, 0]]
    assert paint([[1, 1]], 2, 2) == [[0, 0]] * 2
    assert paint([[0, 0, 2, 2]], 2, 2) == [[0, 0]] * 2


def test_run_lengths():
    """Column by column, the first run outside."""
    runs = dict(size=[2, 3], counts=[1, 3, 2])
    assert paint(runs, 2, 3) == [[0, 1, 0], [1, 1, 0]]
    assert paint(dict(size=[2, 3], counts=[0, 6]), 2, 3) == [[1] * 3] * 2
    assert paint(dict(size=[2, 3], counts=[6]), 2, 3) == [[0] * 3] * 2


def test_run_lengths_as_text():
    # 3, 2, 4, then the differences 1 - 2 and 2 - 4: 31 and 30 are -1 and -2
    # in five bits, and each number stands for its character after '0'.
    assert parse_region(dict(
        size=[3, 4], counts='324ON')).counts.tolist() == [3, 2, 4, 1, 2]
    # 40 = 8 + 32 * 1: two groups. 16 needs a second group as well, or it
    # would be negative.
    assert parse_region(dict(
        size=[8, 7], counts='X1`0')).counts.tolist() == [40, 16]


@pytest.mark.parametrize('segmentation,message', [
    ('x', 'neither'),
    ([[1, 2, 3]], 'x, y, x, y'),
    ([[]], 'x, y, x, y'),
    ([1, 2, 3, 4], 'x, y, x, y'),
    ([[1, 'a']], 'x, y, x, y'),
    ([[1, float('nan')]], 'no numbers'),
    (dict(counts=[4]), 'size'),
    (dict(size=[2, 0], counts=[0]), 'size'),
    (dict(size=[2, 2]), 'no run lengths'),
    (dict(size=[2, 2], counts=[5, -1]), 'no run lengths'),
    (dict(size=[2, 2], counts=[1, 2]), 'add up to 3, not to the 2 x 2'),
    (dict(size=[2, 2], counts='~'), "character '~'"),
    (dict(size=[2, 2], counts='X'), 'middle of a number'),
])
def test_bad_segmentations(segmentation, message):
    with pytest.raises(ValueError, match=message):
        parse_region(segmentation)


def test_other_size():
    region = parse_region(dict(size=[2, 3], counts=[6]))
    with pytest.raises(ValueError, match='for 2 x 3 pixels.*has 3 x 2'):
        paint_region(np.zeros((3, 2), np.uint8), region, 1)


@pytest.mark.parametrize('seed', range(20))
def test_like_pycocotools(seed):
    masks = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 90, 2))
    points = rng.uniform(-0.3, 1.3, (rng.integers(3, 15), 2))
    points = (points * (width, height)).round(2)
    polygons = [points.ravel().tolist(), (points * 0.6 + 2).ravel().tolist()]
    runs = masks.merge(masks.frPyObjects(polygons, height, width))
    expected = masks.decode(runs).tolist()
    assert paint(polygons, height, width) == expected
    runs = dict(size=[height, width], counts=runs['counts'].decode())
    assert paint(runs, height, width) == expected
