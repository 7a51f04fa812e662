"""Augmentation that the training of AffinityNet, IRNet and SEAM needs."""
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import RandomFlip as MMSegRandomFlip
from PIL import Image
from torchvision import transforms

from mmwsss.registry import TRANSFORMS

from .resize import from_picture, resize_bicubic, resize_float, to_picture


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """torchvision's ``ColorJitter``, in random order.

    mmseg's ``PhotoMetricDistortion`` draws from other ranges.

    Args:
        brightness (float): Largest relative change. Defaults to 0.3.
        contrast (float): Likewise. Defaults to 0.3.
        saturation (float): Likewise. Defaults to 0.3.
        hue (float): Largest change, as a share of the circle of colours.
            Defaults to 0.1.
    """

    def __init__(self,
                 brightness: float = 0.3,
                 contrast: float = 0.3,
                 saturation: float = 0.3,
                 hue: float = 0.1) -> None:
        self.jitter = transforms.ColorJitter(brightness, contrast, saturation,
                                             hue)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the colours of one image."""
        image = results['img']
        results['img'] = from_picture(self.jitter(to_picture(image)), image)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.jitter})'


@TRANSFORMS.register_module()
class RandomRescale(BaseTransform):
    """Rescale image and seg fields by one random factor.

    The image bicubically with antialiasing, seg fields to the nearest, both
    as Pillow does it; score planes bilinearly.

    Args:
        low (float): Smallest factor. Defaults to 0.5.
        high (float): Largest factor. Defaults to 1.5.
    """

    def __init__(self, low: float = 0.5, high: float = 1.5) -> None:
        if not 0 < low <= high:
            raise ValueError('RandomRescale needs 0 < low <= high, got '
                             f'{low} and {high}.')
        self.low = low
        self.high = high

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Rescale one sample."""
        factor = np.random.uniform(self.low, self.high)
        image = results['img']
        h, w = (max(round(s * factor), 1) for s in image.shape[:2])
        results['img'] = resize_bicubic(image, (h, w))
        for key in results.get('seg_fields', []):
            results[key] = np.asarray(
                Image.fromarray(results[key]).resize(
                    (w, h), Image.Resampling.NEAREST))
        for key in results.get('plane_fields', []):
            results[key] = np.stack(
                [resize_float(plane, (h, w)) for plane in results[key]])
        results['scale_factor'] = (w / image.shape[1], h / image.shape[0])
        results['img_shape'] = (h, w)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(low={self.low}, high={self.high})'


@TRANSFORMS.register_module()
class RandomFlip(MMSegRandomFlip):
    """mmseg's ``RandomFlip`` that takes score planes along.

    These are the (k, h, w) arrays named in ``plane_fields``, e.g. by
    :class:`~mmwsss.pseudo_labels.transforms.LoadScores`.
    """

    #: Axes of a plane that are reversed.
    AXES: dict[str, tuple[int, ...]] = dict(
        horizontal=(2, ), vertical=(1, ), diagonal=(1, 2))

    def _flip(self, results: dict[str, Any]) -> None:
        super()._flip(results)
        axes = self.AXES[results['flip_direction']]
        for key in results.get('plane_fields', []):
            results[key] = np.flip(results[key], axes)
