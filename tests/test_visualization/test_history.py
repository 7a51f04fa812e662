"""The plot of results over a training."""
import cv2
import numpy as np

from mmwsss.visualization import plot_history

BLUE, ORANGE = (180, 119, 31), (14, 127, 255)  # BGR


def middle(image, color):
    """Mean row and column of the pixels of a colour above the legend."""
    found = (np.abs(image.astype(int) - color) < 3).all(axis=2)
    rows, columns = np.nonzero(found[:int(0.75 * len(image))])
    assert len(rows) > 50
    return rows.mean(), columns.mean()


def draw(path, *args, **kwargs):
    return cv2.imread(str(plot_history(path, *args, **kwargs)))


def test_curves_are_where_the_numbers_are(tmp_path):
    points = dict(a=[(2, 20.), (4, 30.), (6, 30.)], b=[(2, 60.), (6, 60.)])
    image = draw(tmp_path / 'a.png', points)
    higher = draw(
        tmp_path / 'b.png',
        dict(points, a=[(x, y + 50) for x, y in points['a']]))
    assert image.shape == (480, 768, 3)
    assert middle(higher, BLUE)[0] < middle(image, BLUE)[0] - 100
    assert middle(higher, ORANGE) == middle(image, ORANGE)


def test_switch(tmp_path):
    points = dict(a=[(0, 10.), (10, 10.)])
    images = [
        draw(tmp_path / f'{x}.png', points, 'step', x).astype(int)
        for x in (3, 7)
    ]
    # Where one is darker than the other is its line.
    left, right = (
        np.argmax((a[:360, :, 0] < b[:360, :, 0] - 30).sum(axis=0))
        for a, b in (images, images[::-1]))
    assert 100 < left < right - 100


def test_one_validation_is_enough(tmp_path):
    path = plot_history(tmp_path / 'x/y.png', dict(a=[(1, float('nan'))]))
    assert cv2.imread(str(path)) is not None
    assert [p.name for p in path.parent.iterdir()] == ['y.png']
