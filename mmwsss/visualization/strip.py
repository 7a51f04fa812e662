"""An image, its mask and its CAMs side by side."""
from collections.abc import Sequence

import cv2
import numpy as np

from .overlay import overlay_cam, overlay_mask

#: White pixels between two pictures.
GAP = 4


def write_on(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a caption into the lower left corner of a picture.

    Args:
        picture (ndarray): BGR uint8 (h, w, 3).
        text (str): The caption; OpenCV's fonts know ASCII only.

    Returns:
        ndarray: A copy with the caption, white on a dark bar.
    """
    picture = picture.copy()
    height = picture.shape[0]
    scale = min(max(height / 500, 0.4), 2.)
    # No rim around the letters: newer versions of OpenCV set thicker letters
    # further apart.
    (width, above), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX,
                                            scale, 1)
    margin = max(round(6 * scale), 2)
    top = max(height - above - below - 2 * margin, 0)
    bar = picture[top:, :width + 2 * margin]
    bar[:] = bar // 4
    cv2.putText(picture, text, (margin, height - below - margin),
                cv2.FONT_HERSHEY_SIMPLEX, scale, (255, ) * 3, 1, cv2.LINE_AA)
    return picture


def draw_strip(image: np.ndarray,
               mask: np.ndarray,
               palette: Sequence[Sequence[int]],
               captions: Sequence[str] = (),
               cams: np.ndarray | None = None) -> np.ndarray:
    """What a model sees in an image, as one picture.

    Args:
        image (ndarray): BGR uint8 (h, w, 3).
        mask (ndarray): Integers (h, w), 0 is background.
        palette (Sequence[Sequence[int]]): RGB per label of the mask.
        captions (Sequence[str]): A line per CAM.
        cams (ndarray, optional): Floats (k, h, w) in [0, 1].

    Returns:
        ndarray: BGR uint8, ``h`` high: the image, the image under its mask,
        and the image under each of its CAMs.

    Raises:
        ValueError: If sizes differ or a label has no colour.
    """
    pictures = [image, write_on(overlay_mask(image, mask, palette), 'mask')]
    for caption, cam in zip(captions, () if cams is None else cams):
        pictures.append(write_on(overlay_cam(image, cam), caption))
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (gap, picture)]
    return np.hstack(row[1:])
