"""Resizing and cropping as the papers do it."""
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmwsss.registry import TRANSFORMS

#: ImageNet mean in BGR: zero after normalisation.
MEAN_BGR = (103.53, 116.28, 123.675)


def resize_float(image: np.ndarray,
                 size: tuple[int, int],
                 nearest: bool = False) -> np.ndarray:
    """Resize without rounding to whole grey levels.

    Args:
        image (np.ndarray): (h, w) or (h, w, C).
        size (tuple[int, int]): New height and width.
        nearest (bool): Nearest instead of bilinear. Defaults to False.

    Returns:
        np.ndarray: float32 (float64 stays), or the input's type if
        ``nearest``.
    """
    if nearest:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST)
    if image.dtype != np.float64:
        image = image.astype(np.float32)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def to_picture(image: np.ndarray) -> Image.Image:
    """A Pillow image.

    Args:
        image (np.ndarray): (h, w, 3) BGR 0..255 of any type.

    Returns:
        Image.Image: RGB, rounded to whole grey levels.
    """
    if image.dtype != np.uint8:
        image = image.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))


def from_picture(picture: Image.Image, like: np.ndarray) -> np.ndarray:
    """Back from a Pillow image.

    Args:
        picture (Image.Image): RGB.
        like (np.ndarray): Gives the type.

    Returns:
        np.ndarray: (h, w, 3) BGR.
    """
    return np.asarray(picture)[..., ::-1].astype(like.dtype)


def resize_bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bicubically with antialiasing, as Pillow does.

    Args:
        image (np.ndarray): (h, w, 3) BGR 0..255 of any type.
        size (tuple[int, int]): New height and width.

    Returns:
        np.ndarray: (*size, 3) of the image's type, in whole grey levels.
    """
    picture = to_picture(image).resize(size[::-1], Image.Resampling.BICUBIC)
    return from_picture(picture, image)


def long_side_size(shape: Sequence[int], long_side: int) -> tuple[int, int]:
    """Height and width with the given long side and the same aspect.

    Args:
        shape (Sequence[int]): Height and width now.
        long_side (int): The longer of the two afterwards.

    Returns:
        tuple[int, int]: The short side is rounded, at least 1.
    """
    scale = long_side / max(shape)
    return tuple(max(int(round(s * scale)), 1) for s in shape)


def placement_bounds(length: int, size: int) -> tuple[int, int]:
    """Range of offsets of an image side in a canvas side.

    Args:
        length (int): Side of the image.
        size (int): Side of the canvas.

    Returns:
        tuple[int, int]: Lowest and highest offset, both included. Negative
        offsets cut a window out of a larger image, positive ones place a
        smaller image.
    """
    return (min(size - length, 0), max(size - length, 0))


def place(image: np.ndarray, size: int, offset: tuple[int, int],
          fill: Sequence[float]) -> np.ndarray:
    """Cut or place an image into a square canvas.

    Args:
        image (np.ndarray): (h, w) or (h, w, C).
        size (int): Side of the canvas.
        offset (tuple[int, int]): Row and column of the image's corner in the
            canvas, see :func:`placement_bounds`.
        fill (Sequence[float]): Value of the uncovered canvas, per channel.

    Returns:
        np.ndarray: (size, size) or (size, size, C) of the image's type.
    """
    canvas = np.empty((size, size, *image.shape[2:]), dtype=image.dtype)
    canvas[...] = fill
    source, target = [], []
    for length, start in zip(image.shape[:2], offset):
        source.append(slice(max(-start, 0), min(size - start, length)))
        target.append(slice(max(start, 0), min(start + length, size)))
    canvas[tuple(target)] = image[tuple(source)]
    return canvas


class _JointResize(BaseTransform):
    """Resizes the image, and all seg fields to the nearest."""

    #: How the image is resized.
    resize_image = staticmethod(resize_float)

    def resize(self, results: dict[str, Any],
               size: tuple[int, int]) -> dict[str, Any]:
        before = results['img'].shape[:2]
        results['img'] = self.resize_image(results['img'], size)
        for key in results.get('seg_fields', []):
            results[key] = resize_float(results[key], size, nearest=True)
        results['img_shape'] = size
        results['scale_factor'] = (size[1] / before[1], size[0] / before[0])
        return results


@TRANSFORMS.register_module()
class RandomLongSideResize(_JointResize):
    """Resize so that the long side is a random number of pixels.

    As in the training of ACR and GETAM, whose range for a crop of c pixels is
    [int(0.9 c), int(c / 0.875)], and in that of SEAM, whose range is
    [448, 768] for a crop of 448; the aspect is kept.

    Args:
        low (int): Smallest long side.
        high (int): Largest long side, included.
        interpolation (str): ``'bilinear'`` without rounding to uint8 (ACR,
            GETAM), or ``'bicubic'`` as Pillow does it (SEAM).
            Defaults to 'bilinear'.

    Raises:
        ValueError: If the range or the interpolation is none of these.
    """

    def __init__(self,
                 low: int,
                 high: int,
                 interpolation: str = 'bilinear') -> None:
        if not 1 <= low <= high:
            raise ValueError('RandomLongSideResize needs 1 <= low <= high, '
                             f'got {low} and {high}.')
        rules = dict(bilinear=resize_float, bicubic=resize_bicubic)
        if interpolation not in rules:
            raise ValueError(
                f'RandomLongSideResize: interpolation is {interpolation!r}, '
                f'not one of {tuple(rules)}.')
        self.low = low
        self.high = high
        self.interpolation = interpolation
        self.resize_image = rules[interpolation]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize one sample."""
        long_side = np.random.randint(self.low, self.high + 1)
        return self.resize(
            results, long_side_size(results['img'].shape[:2], long_side))

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(low={self.low}, high={self.high}, '
                f'interpolation={self.interpolation!r})')


@TRANSFORMS.register_module()
class SquareResize(_JointResize):
    """Resize to a square, aspect not kept, as ACR does at inference.

    Masks are left alone: they are compared at their own size.

    Args:
        size (int): Side in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize the image of one sample."""
        fields = results.pop('seg_fields', [])
        results = self.resize(results, (self.size, self.size))
        results['seg_fields'] = fields
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size})'


@TRANSFORMS.register_module()
class PlaceCrop(BaseTransform):
    """Make a square: cut a random window or place at a random offset.

    Per axis, an image longer than the square is cut, a shorter one placed;
    the rest is the mean colour, zero after normalisation (ACR and GETAM
    training). Seg fields follow, and the score planes (k, h, w) named in
    ``plane_fields``, filled with 0. Adds ``valid_mask`` (1 where the square
    shows the image).

    Args:
        size (int): Side of the square.
        pad_val (Sequence[float]): BGR colour. Defaults to ImageNet's mean.
        seg_pad_val (dict): Fill of seg fields by name; 255 where not given.
            Defaults to ``dict(gt_saliency=0)``.
    """

    def __init__(
        self,
        size: int,
        pad_val: Sequence[float] = MEAN_BGR,
        seg_pad_val: dict[str, int] = dict(gt_saliency=0)
    ) -> None:
        self.size = size
        self.pad_val = tuple(pad_val)
        self.seg_pad_val = seg_pad_val

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop or place one sample."""
        shape = results['img'].shape[:2]
        bounds = [placement_bounds(side, self.size) for side in shape]
        offset = tuple(
            np.random.randint(low, high + 1) for low, high in bounds)
        results['img'] = place(results['img'].astype(np.float32), self.size,
                               offset, self.pad_val)
        for key in results.get('seg_fields', []):
            fill = self.seg_pad_val.get(key, 255)
            results[key] = place(results[key], self.size, offset, fill)
        for key in results.get('plane_fields', []):
            results[key] = np.stack(
                [place(p, self.size, offset, 0) for p in results[key]])
        results['valid_mask'] = place(
            np.ones(shape, dtype=np.uint8), self.size, offset, 0)
        results['img_shape'] = (self.size, self.size)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size})'


@TRANSFORMS.register_module()
class RandomSquareCrop(_JointResize):
    """Cut a random square and resize it.

    Args:
        size (int): Side of the result.
        scale (tuple[float, float]): Side of the square as a share of the
            image's short side. Defaults to (0.6, 1.0).
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.6, 1.0)) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError('RandomSquareCrop needs 0 < scale[0] <= scale[1] '
                             f'<= 1, got {scale}.')
        self.size = size
        self.scale = scale

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop one sample."""
        h, w = results['img'].shape[:2]
        side = max(int(min(h, w) * np.random.uniform(*self.scale)), 1)
        top = np.random.randint(h - side + 1)
        left = np.random.randint(w - side + 1)
        window = (slice(top, top + side), slice(left, left + side))
        for key in ['img', *results.get('seg_fields', [])]:
            results[key] = results[key][window]
        return self.resize(results, (self.size, self.size))

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(size={self.size}, '
                f'scale={self.scale})')
