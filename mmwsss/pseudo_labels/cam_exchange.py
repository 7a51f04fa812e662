"""CAMs in the file formats of other code bases.

Formats, all of which but ours are pickles in ``{img_id}.npy``:

- ``'irn'``: dict ``keys`` (k,) classes, ``cam`` (k, h, w) at stride 4,
  ``high_res`` (k, H, W), as ReCAM, AMN, VWL and others write it too;
- ``'psa'``: dict from class to map (H, W), as SEAM, EPS and others do;
- ``'mmwsss'``: see :mod:`.cam_file`.
"""
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmwsss.utils.io import atomic_write, open_picture
from mmwsss.utils.planes import resize_planes

from .cam_file import CAMFile, cam_path, read_cam, write_cam

FORMATS = ('mmwsss', 'irn', 'psa')
#: Stride of the maps that IRN diffuses.
STRIDE = 4


def find_files(folder: str | Path, form: str) -> list[tuple[str, Path]]:
    """Image ids and files of a folder.

    Args:
        folder (str | Path): The folder, searched with its subfolders.
        form (str): One of ``FORMATS``.

    Returns:
        list[tuple[str, Path]]: Sorted by id.

    Raises:
        FileNotFoundError: If there is no such folder or no file in it.
    """
    folder = Path(folder)
    suffix = '.npz' if form == 'mmwsss' else '.npy'
    if not folder.is_dir():
        raise FileNotFoundError(f'There is no folder {folder}.')
    files = [
        path for path in folder.rglob(f'*{suffix}')
        if not path.name.startswith('.')
    ]
    if not files:
        raise FileNotFoundError(f'{folder} holds no {suffix} file, the '
                                f'suffix of the format {form!r}.')
    return sorted((path.relative_to(folder).as_posix()[:-len(suffix)], path)
                  for path in files)


def _load_pickle(path: Path, img_id: str, trust_pickle: bool) -> dict:
    if not trust_pickle:
        raise ValueError(
            f'CAMs of image {img_id} ({path}) are a pickle, and loading '
            'a pickle runs whatever code its author put in. If you trust '
            'where the files come from, repeat the command with '
            '--trust-pickle.')
    try:
        content = np.load(path, allow_pickle=True)
        content = content.item() if content.shape == () else None
    except (ValueError, EOFError, OSError, AttributeError, ImportError,
            pickle.UnpicklingError) as error:
        raise ValueError(f'CAMs of image {img_id} ({path}) cannot be '
                         f'read: {error}') from error
    if not isinstance(content, dict):
        raise ValueError(f'CAMs of image {img_id} ({path}) are no '
                         'dictionary; is --from right?')
    return content


def _array(value: Any) -> np.ndarray:
    """A tensor (of any device) or array as an array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _clean(cam: np.ndarray, img_id: str, path: Path) -> np.ndarray:
    """Maps in [0, 1].

    SEAM's scaling subtracts a little too much, which leaves small negative
    numbers, and -1 all over where a class has no activation at all.
    """
    if cam.size and not (cam.min() >= -1 - 1e-3 and cam.max() <= 1 + 1e-3):
        # NaN fails both comparisons.
        raise ValueError(
            f'CAMs of image {img_id} ({path}) lie in {cam.min():.4g}..'
            f'{cam.max():.4g}, not in [0, 1]: they are not normalised.')
    return cam.clip(0, 1)


def _class_ids(keys: Any, img_id: str, path: Path) -> np.ndarray:
    ids = _array(keys)
    if ids.size == 0:
        return np.zeros(0, np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in 'iu':
        raise ValueError(
            f'CAMs of image {img_id} ({path}) have the classes '
            f'{list(keys)[:5]}, which are no integers; is --from right?')
    return ids.astype(np.int64)


def _image_size(img_id: str, path: Path,
                images: str | Path | None) -> tuple[int, int]:
    """Size of an image whose CAMs do not tell it."""
    found = None if images is None else next(
        (p for suffix in ('.jpg', '.png', '.jpeg')
         if (p := Path(images) / f'{img_id}{suffix}').is_file()), None)
    if found is None:
        raise ValueError(
            f'CAMs of image {img_id} ({path}) do not tell the size of '
            'the image, because they are of no class or not of full size. '
            'Give the folder of images with --images' +
            ('.' if images is None else f'; {images} has none of this name.'))
    with open_picture(found) as picture:
        return picture.height, picture.width


def read_foreign(path: str | Path,
                 form: str,
                 img_id: str,
                 trust_pickle: bool = False,
                 images: str | Path | None = None) -> CAMFile:
    """Read CAMs of another code base.

    Args:
        path (str | Path): The file.
        form (str): ``'irn'`` or ``'psa'``.
        img_id (str): Name of the image.
        trust_pickle (bool): Whether to load pickles, which can run code.
            Defaults to False.
        images (str | Path, optional): Folder of images, to look up sizes
            that the files do not tell.

    Returns:
        CAMFile: Classes in ascending order. All classes of the file are
        kept, also those without activation.

    Raises:
        ValueError: If the file is refused, damaged or of another format.
    """
    path = Path(path)
    content = _load_pickle(path, img_id, trust_pickle)
    if form == 'irn':
        if 'keys' not in content or not {'cam', 'high_res'} & set(content):
            raise ValueError(
                f'CAMs of image {img_id} ({path}) have the entries '
                f'{list(content)[:5]} instead of keys, cam and high_res; is '
                '--from right?')
        ids = _class_ids(content['keys'], img_id, path)
        full = content.get('high_res') is not None
        cam = _array(content['high_res' if full else 'cam'])
    else:
        ids = _class_ids(list(content), img_id, path)
        maps = [_array(m) for m in content.values()]
        if len({m.shape for m in maps}) > 1:
            raise ValueError(f'CAMs of image {img_id} ({path}) differ '
                             f'in size: {[m.shape for m in maps][:5]}.')
        full = bool(maps)
        cam = np.stack(maps) if maps else np.zeros((0, 1, 1), np.float32)
    if len(ids) == 0 and cam.ndim != 3:
        full, cam = False, np.zeros((0, 1, 1), np.float32)
    if cam.ndim != 3 or len(cam) != len(ids) or cam.dtype.kind not in 'fiu':
        raise ValueError(
            f'CAMs of image {img_id} ({path}) have shape {cam.shape} '
            f'and type {cam.dtype} for {len(ids)} class(es), expected '
            '(classes, height, width).')
    size = cam.shape[1:] if full else _image_size(img_id, path, images)
    if len(ids) == 0:
        cam = np.zeros((0, *size), np.float32)
    order = np.argsort(ids)
    cam = _clean(cam[order].astype(np.float32), img_id, path)
    return CAMFile(img_id, ids[order], cam, tuple(int(s) for s in size))


def write_foreign(folder: str | Path, form: str, cams: CAMFile) -> Path:
    """Write CAMs for another code base.

    Args:
        folder (str | Path): The folder.
        form (str): ``'irn'`` or ``'psa'``. IRN's maps at stride 4 are made
            from the full ones, bilinearly with ``align_corners=False``.
        cams (CAMFile): The maps; smaller ones are up-sampled.

    Returns:
        Path: ``{folder}/{img_id}.npy``.
    """
    full = resize_planes(cams.cam, cams.image_size)
    if form == 'irn':
        strided = [(s - 1) // STRIDE + 1 for s in cams.image_size]
        # IRN calls .cuda() on these and numpy functions on the others.
        content = dict(
            keys=cams.class_ids,
            cam=torch.from_numpy(resize_planes(full, strided)),
            high_res=full)
    else:
        content = {int(c): m for c, m in zip(cams.class_ids, full)}
    path = cam_path(folder, cams.img_id)
    path = path.with_name(path.name[:-len('.npz')] + '.npy')
    with atomic_write(path) as temp:
        np.save(temp, content, allow_pickle=True)
    return path


def convert_file(path: str | Path,
                 img_id: str,
                 source: str,
                 folder: str | Path,
                 target: str,
                 trust_pickle: bool = False,
                 images: str | Path | None = None) -> Path:
    """Convert the CAMs of one image.

    Args:
        path (str | Path): The file.
        img_id (str): Name of the image.
        source (str): Its format, one of ``FORMATS``.
        folder (str | Path): Where to.
        target (str): Format to write.
        trust_pickle (bool): See :func:`read_foreign`. Defaults to False.
        images (str | Path, optional): See :func:`read_foreign`.

    Returns:
        Path: The new file.

    Raises:
        ValueError: If the file is refused, damaged or of another format.
    """
    if source == 'mmwsss':
        cams = read_cam(path)
        cams.img_id = img_id
    else:
        cams = read_foreign(path, source, img_id, trust_pickle, images)
    if target == 'mmwsss':
        return write_cam(folder, img_id, cams.class_ids, cams.cam,
                         cams.image_size)
    return write_foreign(folder, target, cams)
