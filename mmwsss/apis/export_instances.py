"""One COCO file of a folder of instances: the work of a tool."""
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.pseudo_labels.instance_file import (
    encode_mask,
    instance_path,
    read_instances,
)
from mmwsss.utils.io import atomic_write

from .evaluation_data import evaluation_dataset
from .run import ConfigLike, PathLike, load_config


def bounding_box(mask: np.ndarray) -> list[int]:
    """The smallest box around a mask.

    Args:
        mask (ndarray): bool (H, W), not empty.

    Returns:
        list[int]: COCO's x, y, width, height.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def annotations_of(found: Any, image_id: int, first_id: int,
                   min_score: float) -> list[dict[str, Any]]:
    """COCO's annotations of one image.

    Args:
        found (InstanceFile): The instances. Those of score 0 (too small) are
            left out, and what is empty.
        image_id (int): Number of the image.
        first_id (int): Number of the first annotation.
        min_score (float): Those below are left out.

    Returns:
        list[dict]: Category c + 1 is class c.
    """
    annotations: list[dict[str, Any]] = []
    for mask, label, score in zip(found.masks, found.labels, found.scores):
        if score <= 0 or score < min_score or not mask.any():
            continue
        annotations.append(
            dict(
                id=first_id + len(annotations),
                image_id=image_id,
                category_id=int(label) + 1,
                segmentation=dict(
                    size=list(mask.shape), counts=encode_mask(mask)),
                area=int(mask.sum()),
                bbox=bounding_box(mask),
                iscrowd=0,
                score=float(f'{score:.6g}')))
    return annotations


def coco_of_folder(folder: Path, dataset: Any,
                   min_score: float = 0) -> dict[str, Any]:
    """A folder of instances as one COCO data set.

    Args:
        folder (Path): Of instance files.
        dataset (ImageLevelDataset): Which images, and the names of classes.
        min_score (float): Instances below are left out. Defaults to 0.

    Returns:
        dict: ``images``, ``annotations`` and ``categories``.

    Raises:
        FileNotFoundError: If the folder lacks images.
        ValueError: If a file is damaged or has other classes, or they were
            made for others.
    """
    check_stage_classes(folder, dataset.metainfo['classes'])
    # Joined data sets may share images.
    infos = list({
        info['img_id']: info
        for info in map(dataset.get_data_info, range(len(dataset)))
    }.values())
    missing = [
        info['img_id'] for info in infos
        if not instance_path(folder, info['img_id']).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f'{folder} lacks the instances of {len(missing)} of {len(infos)} '
            f'images, such as {missing[0]}. Write them with: python '
            'tools/test.py CONFIG CHECKPOINT --out FOLDER, for the training '
            'images with --train-images; or choose the images with '
            '--train-images or --split here.')
    roots = {
        info['img_path']: part.data_prefix['img_path']
        for part in getattr(dataset, 'datasets', [dataset])
        for info in map(part.get_data_info, range(len(part)))
    }
    classes = dataset.metainfo['classes'][1:]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, info in enumerate(infos, 1):
        found = read_instances(
            instance_path(folder, info['img_id']), len(classes))
        height, width = found.image_size
        images.append(
            dict(
                id=number,
                file_name=Path(
                    os.path.relpath(info['img_path'],
                                    roots[info['img_path']])).as_posix(),
                height=height,
                width=width))
        annotations += annotations_of(found, number,
                                      len(annotations) + 1, min_score)
    categories = [
        dict(id=c, name=name, supercategory='object')
        for c, name in enumerate(classes, 1)
    ]
    return dict(
        images=images, annotations=annotations, categories=categories)


def export_instances(folder: PathLike,
                     config: ConfigLike,
                     out: PathLike,
                     *,
                     train_images: bool = False,
                     split: str | None = None,
                     min_score: float = 0.,
                     cfg_options: Mapping[str, Any] | None = None
                     ) -> tuple[int, int]:
    """Write a folder of instances as one file in COCO's format.

    Args:
        folder (str | Path): The folder.
        config (str | Path | Config): Says what the images are.
        out (str | Path): The file.
        train_images (bool): Whether the training images are meant instead of
            the test images. Defaults to False.
        split (str, optional): Another list of images, relative to the data
            root.
        min_score (float): Leaves worse ones out. Defaults to 0.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.

    Returns:
        tuple[int, int]: Number of images and of instances.

    Raises:
        FileNotFoundError: If the folder lacks images.
        ValueError: If a file is damaged, or an argument is out of range.
    """
    if not 0 <= min_score <= 1:
        raise ValueError('--min-score must lie in [0, 1], is '
                         f'{min_score}.')
    dataset = evaluation_dataset(
        load_config(config, cfg_options), train_images, split, masks='none')
    content = coco_of_folder(Path(folder), dataset, min_score)
    with atomic_write(out) as temp:
        temp.write_text(json.dumps(content, separators=(',', ':')) + '\n')
    return len(content['images']), len(content['annotations'])
