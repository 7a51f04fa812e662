"""Mask proposals on disk: outlines without classes, of any segmenter.

Two formats, one file per image. ``{img_id}.json`` is what the automatic mask
generator of Segment Anything writes (its ``scripts/amg.py
--convert-to-rle``): a list of objects whose ``segmentation`` is COCO's;
proposals may overlap. ``{img_id}.png`` numbers the proposals, which cannot
overlap there: 0 is none.
"""
import json
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from mmwsss.pseudo_labels.cam_file import cam_path
from mmwsss.pseudo_labels.instance_file import encode_mask
from mmwsss.utils.coco_regions import paint_region, parse_region
from mmwsss.utils.io import atomic_write, open_picture


def proposal_paths(folder: str | Path,
                   img_id: str) -> tuple[Path, Path]:
    """Where the proposals of an image may lie.

    Args:
        folder (str | Path): Folder of proposals.
        img_id (str): Name of the image, may hold subfolders (``a/b``).

    Returns:
        tuple[Path, Path]: ``{folder}/{img_id}.json`` and ``.png``.

    Raises:
        ValueError: If the paths would leave the folder.
    """
    path = cam_path(folder, img_id)
    stem = path.name[:-len('.npz')]
    return path.with_name(f'{stem}.json'), path.with_name(f'{stem}.png')


def _read_json(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Masks bool (n, H, W) of a list of regions."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'the file is no JSON ({error})') from error
    if not isinstance(content, list):
        raise ValueError('the file must hold a list of proposals, holds a '
                         f'{type(content).__name__}')
    masks = np.zeros((len(content), *size), np.uint8)
    for i, (item, mask) in enumerate(zip(content, masks)):
        try:
            if not isinstance(item, dict) or 'segmentation' not in item:
                raise ValueError("it has no 'segmentation'")
            paint_region(mask, parse_region(item['segmentation']), 1)
        except ValueError as error:
            raise ValueError(f'proposal {i}: {error}') from error
    return masks.view(bool)


def _read_png(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Masks bool (n, H, W) of a picture of numbers."""
    try:
        with open_picture(path) as picture:
            mode = picture.mode
            numbers = np.array(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'the picture is corrupt ({error})') from error
    if mode not in ('P', 'L', 'I', 'I;16') or numbers.ndim != 2:
        raise ValueError(f'the picture has mode {mode}; it must number the '
                         'proposals in one channel of 8 or 16 bits')
    if numbers.shape != size:
        raise ValueError(f'the picture has {numbers.shape[0]} x '
                         f'{numbers.shape[1]} pixels, the image has '
                         f'{size[0]} x {size[1]}')
    values = np.unique(numbers)
    return numbers == values[values != 0][:, None, None]


def read_proposals(folder: str | Path, img_id: str,
                   image_size: tuple[int, int]) -> np.ndarray:
    """Read and check the proposals of an image.

    Args:
        folder (str | Path): Folder of proposals.
        img_id (str): Name of the image.
        image_size (tuple[int, int]): H and W that the image has.

    Returns:
        ndarray: bool (n, H, W), in the order of the list or of the numbers;
        n may be 0.

    Raises:
        FileNotFoundError: If there is no file for the image.
        ValueError: If there are two, or it is damaged or made for an image of
            another size.
    """
    paths = proposal_paths(folder, img_id)
    found = [path for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f'There are no mask proposals of image {img_id}: neither '
            f'{paths[0]} nor {paths[1].name}. Run your segmenter on it, write '
            'an empty list [] if it found nothing, or see '
            'tools/make_proposals.py.')
    if len(found) == 2:
        raise ValueError(f'Image {img_id} has two files of mask proposals, '
                         f'{paths[0]} and {paths[1].name}. Remove one.')
    path, size = found[0], tuple(int(s) for s in image_size)
    read = _read_json if path.suffix == '.json' else _read_png
    try:
        return read(path, size)
    except ValueError as error:
        raise ValueError(
            f'Mask proposals of image {img_id} ({path}): {error}. Write the '
            'file again, from the image at its own size.') from error


def write_proposals(folder: str | Path, img_id: str,
                    masks: np.ndarray) -> Path:
    """Write proposals as a list of run lengths, whole or not at all.

    Args:
        folder (str | Path): Folder of proposals.
        img_id (str): Name of the image.
        masks (ndarray): bool (n, H, W); n may be 0.

    Returns:
        Path: ``{folder}/{img_id}.json``.
    """
    path = proposal_paths(folder, img_id)[0]
    content = [
        dict(
            segmentation=dict(
                size=list(mask.shape), counts=encode_mask(mask)),
            area=int(mask.sum())) for mask in masks
    ]
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, separators=(',', ':')) + '\n')
    return path
