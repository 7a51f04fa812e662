"""CAMs on disk: what stage 1 hands to all later stages."""
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmwsss.utils.io import atomic_write
from mmwsss.utils.run_folder import MANIFEST

KEYS = ('class_ids', 'cam', 'image_size')
FORMAT = 'mmwsss-cams'
VERSION = 1


@dataclass
class CAMFile:
    """The CAMs of one image.

    Attributes:
        img_id (str): Name of the image.
        class_ids (ndarray): int64 (K',), classes 0..K-1 without background.
        cam (ndarray): float32 (K', h, w) in [0, 1], usually h x w =
            ``image_size``.
        image_size (tuple[int, int]): Height and width of the image.
    """
    img_id: str
    class_ids: np.ndarray
    cam: np.ndarray
    image_size: tuple[int, int]


def cam_path(folder: str | Path, img_id: str) -> Path:
    """Where the CAMs of an image lie.

    Args:
        folder (str | Path): Folder of CAM files.
        img_id (str): Name of the image, may hold subfolders (``a/b``).

    Returns:
        Path: ``{folder}/{img_id}.npz``.

    Raises:
        ValueError: If the path would leave the folder.
    """
    parts = PurePosixPath(img_id)
    if not img_id or parts.is_absolute() or '..' in parts.parts:
        raise ValueError(f'Image id {img_id!r} does not name a file inside '
                         f'{folder}.')
    return Path(folder) / f'{img_id}.npz'


def _check(img_id: str,
           class_ids: np.ndarray,
           cam: np.ndarray,
           image_size: np.ndarray,
           num_classes: int | None = None) -> None:
    """Raise ValueError where the arrays are not as the format says."""
    problem = None
    if cam.ndim != 3 or cam.dtype.kind != 'f':
        problem = ('cam must be floats (classes, height, width), is '
                   f'{cam.dtype} {cam.shape}')
    elif class_ids.ndim != 1 or class_ids.dtype.kind not in 'iu':
        problem = ('class_ids must be a list of integers, is '
                   f'{class_ids.dtype} {class_ids.shape}')
    elif len(class_ids) != len(cam):
        problem = f'{len(class_ids)} class_ids for {len(cam)} maps'
    elif (image_size.shape != (2, ) or image_size.dtype.kind not in 'iu'
          or image_size.min() < 1):
        problem = ('image_size must be height and width in pixels, is '
                   f'{image_size.tolist()}')
    elif len(np.unique(class_ids)) != len(class_ids):
        problem = f'class_ids {class_ids.tolist()} repeat'
    elif len(class_ids) and (class_ids.min() < 0 or
                             (num_classes is not None
                              and class_ids.max() >= num_classes)):
        allowed = 'not negative' if num_classes is None else \
            f'in 0..{num_classes - 1}'
        problem = f'class_ids {class_ids.tolist()} must be {allowed}'
    elif cam.size and not (cam.min() >= 0 and cam.max() <= 1):
        # NaN fails both comparisons.
        problem = ('cam must lie in [0, 1], has '
                   f'{cam.min():.4g}..{cam.max():.4g}')
    elif len(cam) and not cam[0].size:
        problem = f'cam has no pixel: {cam.shape}'
    if problem:
        raise ValueError(f'CAMs of image {img_id}: {problem}.')


def write_cam(folder: str | Path, img_id: str,
              class_ids: Sequence[int], cam: np.ndarray,
              image_size: tuple[int, int]) -> Path:
    """Write the CAMs of one image, whole or not at all.

    Args:
        folder (str | Path): Folder of CAM files.
        img_id (str): Name of the image.
        class_ids (Sequence[int]): (K',), classes 0..K-1.
        cam (ndarray): Floats (K', h, w) in [0, 1]; stored as float16, an
            error of at most 2.5e-4.
        image_size (tuple[int, int]): Height and width of the image.

    Returns:
        Path: The file.

    Raises:
        ValueError: If the arrays do not fit the format.
    """
    path = cam_path(folder, img_id)
    class_ids = np.asarray(class_ids)
    if class_ids.size == 0:
        class_ids = np.zeros(0, np.int16)
    cam = np.asarray(cam)
    size = np.asarray(image_size)
    _check(img_id, class_ids, cam, size, np.iinfo(np.int16).max)
    with atomic_write(path) as temp:
        np.savez_compressed(
            temp,
            class_ids=class_ids.astype(np.int16),
            cam=cam.astype(np.float16),
            image_size=size.astype(np.int32))
    return path


def read_cam(path: str | Path,
             num_classes: int | None = None,
             image_size: tuple[int, int] | None = None) -> CAMFile:
    """Read and check the CAMs of one image.

    Args:
        path (str | Path): A file of :func:`write_cam`.
        num_classes (int, optional): K; class ids must lie below.
        image_size (tuple[int, int], optional): Height and width that the
            image has.

    Returns:
        CAMFile: ``img_id`` is the file's name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or its content does not fit.
    """
    path = Path(path)
    img_id = path.name[:-4] if path.suffix == '.npz' else path.name
    if not path.is_file():
        raise FileNotFoundError(
            f'There are no CAMs of image {img_id} ({path}). Write them '
            'with: python tools/test.py CONFIG CHECKPOINT --out FOLDER')
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
            values = [arrays[key] for key in KEYS if key in names]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError,
            NotImplementedError) as error:
        raise ValueError(
            f'CAMs of image {img_id} ({path}) are damaged: {error}. '
            'Delete the file and write it again.') from error
    except (ValueError, AttributeError) as error:
        # Plain arrays or a pickle instead of a zip of arrays.
        raise ValueError(f'CAMs of image {img_id} ({path}) are no '
                         f'CAM file: {error}.') from error
    missing = [key for key in KEYS if key not in names]
    if missing:
        raise ValueError(f'CAMs of image {img_id} ({path}) lack '
                         f'{missing}; the file holds {names}.')
    class_ids, cam, size = values
    try:
        _check(f'{img_id} ({path})', class_ids, cam, size, num_classes)
    except ValueError as error:
        raise ValueError(f'{error} Delete the file and write it '
                         'again.') from error
    size = (int(size[0]), int(size[1]))
    if image_size is not None and size != tuple(image_size):
        raise ValueError(
            f'CAMs of image {img_id} ({path}) were made for an image '
            f'of {size[0]} x {size[1]} (height x width), this one has '
            f'{image_size[0]} x {image_size[1]}.')
    return CAMFile(img_id, class_ids.astype(np.int64),
                   cam.astype(np.float32), size)


def write_manifest(folder: str | Path, **facts: Any) -> Path:
    """Note how a folder of CAM files came about, once it is complete.

    Args:
        folder (str | Path): Folder of CAM files.
        **facts: What JSON can hold; e.g. config, checkpoint, split,
            num_images.

    Returns:
        Path: ``{folder}/manifest.json``.
    """
    path = Path(folder) / MANIFEST
    content = dict(format=FORMAT, version=VERSION, **facts)
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, indent=2, default=str) + '\n')
    return path


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the note of :func:`write_manifest`.

    Args:
        folder (str | Path): Folder of CAM files.

    Returns:
        dict: The facts, with ``format`` and ``version``.

    Raises:
        FileNotFoundError: If the folder has none, i.e. is not complete.
        ValueError: If it is not a manifest of CAM files.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f'{folder} has no {MANIFEST}: either it holds no CAMs or '
            'the run that wrote them did not end. Run it again.')
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f"{path} does not say format '{FORMAT}'.")
    if content.get('version') != VERSION:
        raise ValueError(f'{path} has version {content.get("version")}, this '
                         f'program reads version {VERSION}.')
    return content
