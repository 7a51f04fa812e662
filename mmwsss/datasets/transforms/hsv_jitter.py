"""Colour augmentation in HSV."""
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmwsss.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HSVJitter(BaseTransform):
    """Add a random whole number to hue, saturation and value of an image.

    As in the retraining of SEAM: each of the three is drawn uniformly in
    [-delta, delta] in OpenCV's 8-bit HSV, where hue runs from 0 to 179 in
    steps of two degrees and wraps around.

    Args:
        delta (int): Largest change. Defaults to 10.
    """

    def __init__(self, delta: int = 10) -> None:
        self.delta = delta

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the colours of one sample.

        Raises:
            TypeError: If the image is not 8-bit.
        """
        image = results['img']
        if image.dtype != np.uint8:
            raise TypeError(
                f'Image {results.get("img_id", "?")!r}: HSVJitter works on '
                f'8-bit images, not {image.dtype}. Put it right behind '
                "dict(type='mmwsss.LoadImage').")
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
        hsv += np.random.randint(
            -self.delta, self.delta + 1, 3).astype(np.int16)
        hsv[..., 0] %= 180
        results['img'] = cv2.cvtColor(
            np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(delta={self.delta})'
