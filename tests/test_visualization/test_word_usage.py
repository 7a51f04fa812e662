"""The plot of words in use."""
import cv2
import numpy as np

from mmwsss.visualization import plot_word_usage

BLUE, ORANGE = (180, 119, 31), (14, 127, 255)  # BGR


def middle(image, color):
    """Mean row and column of the pixels of a colour."""
    found = (np.abs(image.astype(int) - color) < 3).all(axis=2)
    # Left of the legend's lines, above its text.
    rows, columns = np.nonzero(found[:int(0.75 * len(image))])
    assert len(rows) > 50
    return rows.mean(), columns


def test_lines_are_where_the_numbers_are(tmp_path):
    def draw(alive, name):
        path = plot_word_usage(tmp_path / name,
                               [(s, alive, 1.) for s in (1, 50, 90)], 32)
        return cv2.imread(str(path))

    low, high = (draw(n, f'{n}.png') for n in (4., 28.))
    assert low.shape == high.shape == (480, 768, 3)
    assert middle(high, BLUE)[0] < middle(low, BLUE)[0] - 100
    assert middle(high, ORANGE)[0] == middle(low, ORANGE)[0]


def test_one_step_is_enough(tmp_path):
    path = plot_word_usage(tmp_path / 'a/b.png', [(10, 3., 0.5)], 8)
    assert cv2.imread(str(path)) is not None
