"""Instances on disk: masks of objects with class and score.

Masks are stored as COCO's run lengths (``counts``): how many pixels are
outside, inside, outside, .. the object, column by column.
"""
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.utils.io import atomic_write

from .cam_file import MANIFEST, cam_path

FORMAT = 'mmwsss-instances'
VERSION = 1
KEYS = ('image_size', 'labels', 'scores', 'masks')


@dataclass
class InstanceFile:
    """The instances of one image.

    Attributes:
        img_id (str): Name of the image.
        masks (ndarray): bool (n, H, W).
        labels (ndarray): int64 (n,), classes 0..K-1 without background.
        scores (ndarray): float32 (n,) in [0, 1].
        image_size (tuple[int, int]): H and W.
    """
    img_id: str
    masks: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    image_size: tuple[int, int]


def encode_mask(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask.

    Args:
        mask (ndarray): bool (H, W).

    Returns:
        list[int]: COCO's uncompressed counts; they sum to H * W.
    """
    pixels = np.asarray(mask, bool).ravel(order='F')
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate(([0], changes, [pixels.size])))
    # The first run is outside.
    first = [0] if pixels.size and pixels[0] else []
    return first + runs.tolist()


def decode_mask(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The mask of run lengths.

    Args:
        counts (Sequence[int]): Of :func:`encode_mask`.
        size (tuple[int, int]): H and W.

    Returns:
        ndarray: bool (H, W).

    Raises:
        ValueError: If they do not fit the size.
    """
    runs = np.asarray(counts)
    if (runs.ndim != 1 or runs.dtype.kind not in 'iu' or (runs < 0).any()
            or runs.sum() != size[0] * size[1]):
        raise ValueError(
            f'run lengths must be {size[0]} * {size[1]} pixels in all')
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return pixels.reshape(size, order='F')


def instance_path(folder: str | Path, img_id: str) -> Path:
    """Where the instances of an image lie.

    Args:
        folder (str | Path): Folder of instance files.
        img_id (str): Name of the image, may hold subfolders (``a/b``).

    Returns:
        Path: ``{folder}/{img_id}.json``.

    Raises:
        ValueError: If the path would leave the folder, or is that of the
            folder's manifest.
    """
    path = cam_path(folder, img_id)
    path = path.with_name(path.name[:-len('.npz')] + '.json')
    if path == Path(folder) / MANIFEST:
        raise ValueError(f'No image can have the id {img_id!r}: {path} says '
                         'how the folder came about. Rename the image.')
    return path


def _check(img_id: str,
           masks: np.ndarray,
           labels: np.ndarray,
           scores: np.ndarray,
           image_size: tuple[int, int],
           num_classes: int | None = None) -> None:
    """Raise ValueError where the arrays are not as the format says."""
    count = len(masks)
    problem = None
    if masks.dtype != bool or masks.shape[1:] != tuple(image_size):
        problem = (f'masks must be bool (n, {image_size[0]}, '
                   f'{image_size[1]}), are {masks.dtype} {masks.shape}')
    elif labels.shape != (count, ) or labels.dtype.kind not in 'iu':
        problem = (f'labels must be {count} integers, are {labels.dtype} '
                   f'{labels.shape}')
    elif scores.shape != (count, ) or scores.dtype.kind != 'f':
        problem = (f'scores must be {count} floats, are {scores.dtype} '
                   f'{scores.shape}')
    elif count and not (scores.min() >= 0 and scores.max() <= 1):
        # NaN fails both comparisons.
        problem = (f'scores must lie in [0, 1], are {scores.min():.4g}..'
                   f'{scores.max():.4g}')
    elif count and (labels.min() < 0 or
                    (num_classes is not None and labels.max() >= num_classes)):
        allowed = ('not be negative' if num_classes is None else
                   f'lie in 0..{num_classes - 1}')
        problem = f'labels {labels.tolist()} must {allowed}'
    if problem:
        raise ValueError(f'Instances of image {img_id}: {problem}.')


def write_instances(folder: str | Path, img_id: str, masks: np.ndarray,
                    labels: np.ndarray, scores: np.ndarray,
                    image_size: tuple[int, int]) -> Path:
    """Write the instances of one image, whole or not at all.

    Args:
        folder (str | Path): Folder of instance files.
        img_id (str): Name of the image.
        masks (ndarray): bool (n, H, W); n may be 0.
        labels (ndarray): Integers (n,), classes 0..K-1.
        scores (ndarray): Floats (n,) in [0, 1]; six digits are stored.
        image_size (tuple[int, int]): H and W.

    Returns:
        Path: The file.

    Raises:
        ValueError: If the arrays do not fit the format.
    """
    path = instance_path(folder, img_id)
    size = tuple(int(s) for s in image_size)
    masks, labels, scores = map(np.asarray, (masks, labels, scores))
    _check(img_id, masks, labels, scores, size)
    content = dict(
        format=FORMAT,
        version=VERSION,
        image_size=size,
        labels=labels.tolist(),
        # A score above 0 must not become 0, which says "too small".
        scores=[float(f'{score:.6g}') for score in scores],
        masks=[encode_mask(mask) for mask in masks])
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, separators=(',', ':')) + '\n')
    return path


def read_instances(path: str | Path,
                   num_classes: int | None = None,
                   image_size: tuple[int, int] | None = None
                   ) -> InstanceFile:
    """Read and check the instances of one image.

    Args:
        path (str | Path): A file of :func:`write_instances`.
        num_classes (int, optional): K; labels must lie below.
        image_size (tuple[int, int], optional): H and W that the image has.

    Returns:
        InstanceFile: ``img_id`` is the file's name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or its content does not fit.
    """
    path = Path(path)
    img_id = path.name[:-5] if path.suffix == '.json' else path.name
    if not path.is_file():
        raise FileNotFoundError(
            f'There are no instances of image {img_id} ({path}). Write them '
            'with: python tools/test.py CONFIG CHECKPOINT --out FOLDER, '
            'where CONFIG predicts instances.')
    where = f'Instances of image {img_id} ({path})'
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{where} are no JSON: {error}. Delete the file and '
                         'write it again.') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f"{where}: the file does not say format '{FORMAT}'.")
    if content.get('version') != VERSION:
        raise ValueError(f'{where} have version {content.get("version")}, '
                         f'this program reads version {VERSION}.')
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise ValueError(f'{where} lack {missing}.')
    try:
        height, width = content['image_size']
        size = (height, width)
        masks = [decode_mask(counts, size) for counts in content['masks']]
        masks = np.array(masks, bool).reshape(len(masks), *size)
        labels = np.array(content['labels'], np.int64)
        scores = np.array(content['scores'], np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{where} are damaged: {error}. Delete the file and '
                         'write it again.') from error
    _check(f'{img_id} ({path})', masks, labels, scores, size, num_classes)
    if image_size is not None and size != tuple(image_size):
        raise ValueError(
            f'{where} were found in an image of {size[0]} x {size[1]} '
            f'(height x width), this one has {image_size[0]} x '
            f'{image_size[1]}.')
    return InstanceFile(img_id, masks, labels, scores, size)


def write_instance_manifest(folder: str | Path, **facts: Any) -> Path:
    """Note how a folder of instances came about, once it is complete.

    Args:
        folder (str | Path): Folder of instance files.
        **facts: What JSON can hold.

    Returns:
        Path: ``{folder}/manifest.json``.
    """
    path = Path(folder) / MANIFEST
    content = dict(format=FORMAT, version=VERSION, **facts)
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, indent=2, default=str) + '\n')
    return path
