"""Colour jitter in HSV."""
import colorsys

import numpy as np
import pytest

from mmwsss.registry import TRANSFORMS


def jitter(image, delta, seed=0):
    transform = TRANSFORMS.build(dict(type='mmwsss.HSVJitter', delta=delta))
    np.random.seed(seed)
    return transform(dict(img=image.copy(), img_id='x'))['img']


def hsv(bgr):
    """Hue in degrees, saturation and value in 0..255."""
    b, g, r = (float(c) / 255 for c in bgr)
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return h * 360, s * 255, v * 255


def test_one_shift_for_the_whole_image():
    # Blue-green, red, orange; far from black and from full saturation.
    image = np.array([[[160, 120, 60], [60, 70, 180], [50, 120, 190]]],
                     np.uint8)
    for seed in range(5):
        out = jitter(image, 10, seed)
        np.random.seed(seed)
        dh, ds, dv = np.random.randint(-10, 11, 3)
        for before, after in zip(image[0], out[0]):
            h, s, v = np.subtract(hsv(after), hsv(before))
            h = (h + 180) % 360 - 180  # Red wraps around.
            assert h == pytest.approx(2 * dh, abs=3)
            assert s == pytest.approx(ds, abs=3)
            assert v == pytest.approx(dv, abs=1.5)


def test_bounds():
    image = np.array([[[0, 0, 0], [255, 255, 255], [0, 0, 255]]], np.uint8)
    for seed in range(20):
        out = jitter(image, 40, seed)
        assert out.dtype == np.uint8
        # Nothing wraps from black to white or back.
        assert out[0, 0].max() <= 40 and out[0, 1].max() >= 215
    assert np.array_equal(jitter(image, 0), image)
    with pytest.raises(TypeError, match="'x'.*8-bit"):
        jitter(image.astype(np.float32), 10)
