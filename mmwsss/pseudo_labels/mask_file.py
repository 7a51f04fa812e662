"""Masks on disk: what a segmentation model trains on or has predicted."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmwsss.utils.io import atomic_write

from .cam_file import MANIFEST, cam_path

FORMAT = 'mmwsss-masks'
VERSION = 1
IGNORE = 255
#: What VOC paints ignored pixels with.
IGNORE_COLOR = (224, 224, 192)


def voc_palette() -> np.ndarray:
    """VOC's colours, which spread the bits of the index over the channels.

    Returns:
        ndarray: uint8 (256, 3), RGB.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            value = index >> (3 * bit + channel) & 1
            palette[:, channel] |= (value << (7 - bit)).astype(np.uint8)
    return palette


def mask_path(folder: str | Path, img_id: str) -> Path:
    """Where the mask of an image lies.

    Args:
        folder (str | Path): Folder of masks.
        img_id (str): Name of the image, may hold subfolders (``a/b``).

    Returns:
        Path: ``{folder}/{img_id}.png``.

    Raises:
        ValueError: If the path would leave the folder.
    """
    path = cam_path(folder, img_id)
    return path.with_name(path.name[:-len('.npz')] + '.png')


def write_mask(
    folder: str | Path,
    img_id: str,
    mask: np.ndarray,
    palette: Sequence[Sequence[int]] | None = None,
) -> Path:
    """Write a mask as palette PNG, whole or not at all.

    Args:
        folder (str | Path): Folder of masks.
        img_id (str): Name of the image.
        mask (ndarray): Integers (H, W): 0 background, c + 1 class c, 255
            ignored.
        palette (Sequence, optional): RGB of background and classes. Defaults
            to VOC's colours.

    Returns:
        Path: The file.

    Raises:
        ValueError: If the mask is no such array.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in 'iu' or not mask.size:
        raise ValueError(f'The mask of image {img_id} must be integers '
                         f'(height, width), is {mask.dtype} {mask.shape}.')
    if mask.min() < 0 or mask.max() > 255:
        raise ValueError(f'The mask of image {img_id} has values '
                         f'{mask.min()}..{mask.max()}, 8 bits hold 0..255.')
    colors = voc_palette()
    if palette is not None:
        colors[:len(palette)] = palette
    colors[IGNORE] = IGNORE_COLOR
    picture = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
    picture.putpalette(colors.ravel().tolist())
    path = mask_path(folder, img_id)
    with atomic_write(path) as temp:
        picture.save(temp)
    return path


def write_mask_manifest(folder: str | Path, **facts: Any) -> Path:
    """Note how a folder of masks came about, once it is complete.

    Args:
        folder (str | Path): Folder of masks.
        **facts: What JSON can hold.

    Returns:
        Path: ``{folder}/manifest.json``.
    """
    path = Path(folder) / MANIFEST
    content = dict(format=FORMAT, version=VERSION, **facts)
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, indent=2, default=str) + '\n')
    return path


def class_lut(class_ids: Sequence[int]) -> np.ndarray:
    """Mask values of the planes [background, classes of an image].

    Args:
        class_ids (Sequence[int]): (k,), classes 0..K-1.

    Returns:
        ndarray: uint8 (k + 1,): 0, then c + 1 per class c.
    """
    return np.append(0, np.asarray(class_ids, np.int64) + 1).astype(np.uint8)


def labels_from_mask(mask: np.ndarray,
                     num_classes: int,
                     ignore_index: int = 255,
                     img_id: str = '?') -> tuple[int, ...]:
    """Classes that a mask shows.

    Args:
        mask (np.ndarray): uint8 (h, w); 0 = background, c + 1 = class c.
        num_classes (int): K, background not counted.
        ignore_index (int): Value of pixels without label. Defaults to 255.
        img_id (str): The image, for the error message. Defaults to '?'.

    Returns:
        tuple[int, ...]: Sorted class indices.

    Raises:
        ValueError: If another value occurs; names the image and the values.
    """
    values = np.flatnonzero(np.bincount(mask.ravel()))
    values = [int(v) for v in values if v not in (0, ignore_index)]
    bad = [v for v in values if v > num_classes]
    if bad:
        raise ValueError(
            f'The mask of image {img_id} holds {bad[:5]}; legal are 0 '
            f'(background), 1..{num_classes} (classes) and {ignore_index} '
            '(ignore). Check the mask and the classes in metainfo. If other '
            'values stand for the classes, say which: --mask-values '
            "VALUE=CLASS ..., mask_values=['VALUE=CLASS', ...] of a dataset.")
    return tuple(v - 1 for v in values)
