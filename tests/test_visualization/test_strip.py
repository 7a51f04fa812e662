import numpy as np
import pytest

from mmwsss.visualization.overlay import overlay_cam, overlay_mask
from mmwsss.visualization.strip import GAP, draw_strip, write_on

PALETTE = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]


def test_parts_of_a_strip():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (100, 60, 3), dtype=np.uint8)
    mask = rng.integers(0, 3, (100, 60))
    cams = rng.random((2, 100, 60)).astype(np.float32)
    strip = draw_strip(image, mask, PALETTE, ['cat 0.93', 'dog'], cams)
    assert strip.shape == (100, 4 * 60 + 3 * GAP, 3)
    assert strip.dtype == np.uint8
    parts = [strip[:, i * (60 + GAP):][:, :60] for i in range(4)]
    assert np.array_equal(parts[0], image)
    # Above the captions.
    expected = [overlay_mask(image, mask, PALETTE),
                *(overlay_cam(image, cam) for cam in cams)]
    for part, picture in zip(parts[1:], expected):
        assert np.array_equal(part[:50], picture[:50])
        assert not np.array_equal(part[50:], picture[50:])
    assert (strip[:, 60:60 + GAP] == 255).all()

    without = draw_strip(image, mask, PALETTE)
    assert np.array_equal(without, strip[:, :2 * 60 + GAP])
    with pytest.raises(ValueError, match='label 7'):
        draw_strip(image, mask + 5, PALETTE)


def test_captions_leave_the_picture_alone():
    picture = np.full((40, 200, 3), 128, np.uint8)
    written = write_on(picture, 'dog')
    assert (picture == 128).all()
    # Readable on any ground; OpenCV releases differ in how bright strokes get.
    assert written.max() > 240 and written.min() == 32
    # Nothing beside the bar, all of it for a picture of a few pixels.
    assert (written[:, 150:] == 128).all()
    assert write_on(picture[:5, :5], 'dog').shape == (5, 5, 3)
