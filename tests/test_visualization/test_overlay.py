"""Pictures: colours where they belong."""
import cv2
import numpy as np
import pytest

from mmwsss.visualization import color_mask, overlay_cam, overlay_mask, shrink

PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
IMAGE = np.full((4, 6, 3), 100, np.uint8)


def test_overlay_cam():
    cam = np.linspace(0, 1, 24).reshape(4, 6)
    picture = overlay_cam(IMAGE, cam)
    assert picture.shape == IMAGE.shape and picture.dtype == np.uint8
    assert picture[0, 0, 2] < picture[-1, -1, 2]  # red grows (BGR)
    heat = overlay_cam(IMAGE, cam, alpha=1, colormap='jet')
    np.testing.assert_array_equal(
        heat,
        cv2.applyColorMap(
            np.round(cam * 255).astype(np.uint8), cv2.COLORMAP_JET))
    np.testing.assert_array_equal(overlay_cam(IMAGE, cam, alpha=0), IMAGE)
    assert (IMAGE == 100).all()


def test_overlay_cam_odd_values():
    odd = np.full((4, 6), np.nan)
    np.testing.assert_array_equal(
        overlay_cam(IMAGE, odd), overlay_cam(IMAGE, np.zeros((4, 6))))
    np.testing.assert_array_equal(
        overlay_cam(IMAGE, np.full((4, 6), 7)),
        overlay_cam(IMAGE, np.ones((4, 6))))
    half = np.full((4, 6), 0.5, np.float16)
    assert overlay_cam(IMAGE, half).shape == IMAGE.shape


def test_color_mask():
    mask = np.array([[0, 1, 2, 255]])
    assert color_mask(mask, PALETTE).tolist() == [[[0, 0, 0], [0, 0, 128],
                                                   [0, 128, 0],
                                                   [192, 224, 224]]]
    assert color_mask(mask.astype(np.uint8), PALETTE).dtype == np.uint8
    assert color_mask(np.full((1, 1), 255), PALETTE).shape == (1, 1, 3)
    with pytest.raises(ValueError, match='label 3, the palette 3'):
        color_mask(np.array([[3]]), PALETTE)


def test_overlay_mask_keeps_background():
    mask = np.zeros((4, 6), np.uint8)
    mask[0] = 1
    picture = overlay_mask(IMAGE, mask, PALETTE, alpha=0.5)
    np.testing.assert_array_equal(picture[1:], IMAGE[1:])
    assert picture[0, 0].tolist() == [50, 50, 114]


def test_sizes():
    with pytest.raises(ValueError, match=r'CAM is \(4, 5\)'):
        overlay_cam(IMAGE, np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r'mask is \(4, 5\)'):
        overlay_mask(IMAGE, np.zeros((4, 5), int), PALETTE)
    with pytest.raises(ValueError, match='must be uint8'):
        overlay_cam(IMAGE.astype(float), np.zeros((4, 6)))
    with pytest.raises(ValueError, match="colormap is 'hot'"):
        overlay_cam(IMAGE, np.zeros((4, 6)), colormap='hot')


@pytest.mark.parametrize('size, expected', [((4, 6), (4, 6)),
                                            ((640, 320), (320, 160)),
                                            ((10, 4000), (1, 320)),
                                            ((1, 1), (1, 1))])
def test_shrink(size, expected):
    picture = np.zeros((*size, 3), np.uint8)
    assert shrink(picture, 320).shape[:2] == expected
    assert shrink(picture, None) is picture
