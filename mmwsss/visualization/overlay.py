"""CAMs and masks as pictures."""
from collections.abc import Sequence

import cv2
import numpy as np

COLORMAPS = dict(
    turbo=cv2.COLORMAP_TURBO,
    jet=cv2.COLORMAP_JET,
    viridis=cv2.COLORMAP_VIRIDIS)
# Ignored pixels in the pale tone VOC draws its borders with, as BGR.
IGNORE_COLOR = (192, 224, 224)


def _check_size(image: np.ndarray, other: np.ndarray, what: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError('The image must be uint8 (height, width, 3), got '
                         f'{image.dtype} {image.shape}.')
    if image.shape[:2] != other.shape:
        raise ValueError(f'The {what} is {other.shape}, the image '
                         f'{image.shape[:2]} (height, width).')


def overlay_cam(image: np.ndarray,
                cam: np.ndarray,
                alpha: float = 0.5,
                colormap: str = 'turbo') -> np.ndarray:
    """Draw one CAM over its image as a heat map.

    Args:
        image (ndarray): BGR uint8 (h, w, 3).
        cam (ndarray): Floats (h, w); values outside [0, 1] are cut off.
        alpha (float): Weight of the heat map. Defaults to 0.5.
        colormap (str): 'turbo', 'jet' or 'viridis'. Defaults to 'turbo'.

    Returns:
        ndarray: BGR uint8 (h, w, 3).

    Raises:
        ValueError: If sizes differ or the colour map is not known.
    """
    if colormap not in COLORMAPS:
        raise ValueError(f'colormap is {colormap!r}, must be one of '
                         f'{sorted(COLORMAPS)}.')
    cam = np.asarray(cam, dtype=np.float32)
    _check_size(image, cam, 'CAM')
    level = np.nan_to_num(cam).clip(0, 1)
    heat = cv2.applyColorMap(
        np.round(255 * level).astype(np.uint8), COLORMAPS[colormap])
    return cv2.addWeighted(heat, alpha, image, 1 - alpha, 0)


def color_mask(mask: np.ndarray,
               palette: Sequence[Sequence[int]],
               ignore_index: int = 255) -> np.ndarray:
    """Paint a mask in its palette.

    Args:
        mask (ndarray): Integers (h, w).
        palette (Sequence[Sequence[int]]): RGB per label, as in a dataset's
            ``metainfo['palette']``.
        ignore_index (int): Painted pale. Defaults to 255.

    Returns:
        ndarray: BGR uint8 (h, w, 3).

    Raises:
        ValueError: If a label has no colour.
    """
    mask = np.asarray(mask)
    counted = mask != ignore_index
    if counted.any() and not (mask[counted].min() >= 0
                              and mask[counted].max() < len(palette)):
        raise ValueError(
            f'The mask has label {mask[counted].max()}, the palette '
            f'{len(palette)} colours.')
    colors = np.array([*palette, IGNORE_COLOR[::-1]], dtype=np.uint8)
    index = np.where(counted, mask, len(palette)).astype(np.intp)
    return np.ascontiguousarray(colors[index][..., ::-1])


def overlay_mask(image: np.ndarray,
                 mask: np.ndarray,
                 palette: Sequence[Sequence[int]],
                 alpha: float = 0.6,
                 ignore_index: int = 255) -> np.ndarray:
    """Draw a mask over its image; the background stays as it is.

    Args:
        image (ndarray): BGR uint8 (h, w, 3).
        mask (ndarray): Integers (h, w), 0 is background.
        palette (Sequence[Sequence[int]]): RGB per label.
        alpha (float): Weight of the colours. Defaults to 0.6.
        ignore_index (int): Painted pale. Defaults to 255.

    Returns:
        ndarray: BGR uint8 (h, w, 3).

    Raises:
        ValueError: If sizes differ or a label has no colour.
    """
    mask = np.asarray(mask)
    _check_size(image, mask, 'mask')
    painted = cv2.addWeighted(
        color_mask(mask, palette, ignore_index), alpha, image, 1 - alpha, 0)
    return np.where((mask == 0)[..., None], image, painted)


def shrink(picture: np.ndarray,
           longest: int | None = 320) -> np.ndarray:
    """Make a picture small enough for a page.

    Args:
        picture (ndarray): uint8 (h, w, 3).
        longest (int, optional): Length in pixels of the longer side, None
            for any. Smaller pictures stay.

    Returns:
        ndarray: uint8 (h', w', 3).
    """
    height, width = picture.shape[:2]
    if longest is None or max(height, width) <= longest:
        return picture
    factor = longest / max(height, width)
    size: tuple[int, int] = (max(round(width * factor), 1),
                             max(round(height * factor), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
