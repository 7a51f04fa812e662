"""COCO: instances of pycocotools."""
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmwsss.utils.io import atomic_write

from .regions import (
    IGNORE_LABEL,
    AnnotatedImage,
    Region,
    fill,
    outlines,
    split_mask,
)


def write_coco(out: Path, images: Iterable[tuple[str, np.ndarray]],
               classes: Sequence[str], polygons: bool = False,
               tolerance: float = 1.) -> int:
    """Write masks as a COCO file.

    Args:
        out (Path): The file.
        images (Iterable[tuple[str, ndarray]]): File name and mask.
        classes (Sequence[str]): The K names; class c is category c + 1.
            Ignored pixels are category K + 1, ``__ignore__``, where there
            are some.
        polygons (bool): An outline per connected part in place of run
            lengths per class. Defaults to False.
        tolerance (float): Of outlines, in pixels. Defaults to 1.

    Returns:
        int: Number of annotations.
    """
    names = [*classes, IGNORE_LABEL]
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (file_name, mask) in enumerate(images, 1):
        height, width = mask.shape
        entries.append(
            dict(id=number, file_name=file_name, height=height, width=width))
        for label, region in split_mask(mask, classes):
            for part in _parts(region, polygons, tolerance):
                annotations.append(dict(
                    part, id=len(annotations) + 1, image_id=number,
                    category_id=names.index(label) + 1))
    if not any(a['category_id'] == len(names) for a in annotations):
        names.pop()
    content = dict(
        images=entries,
        annotations=annotations,
        categories=[dict(id=i, name=name, supercategory='object')
                    for i, name in enumerate(names, 1)])
    with atomic_write(out) as temp:
        temp.write_text(
            json.dumps(content, separators=(',', ':'), ensure_ascii=False) +
            '\n', encoding='utf-8')
    return len(annotations)


def _parts(region: np.ndarray, polygons: bool,
           tolerance: float) -> Iterator[dict[str, Any]]:
    if polygons:
        for line in outlines(region, tolerance):
            runs = coco_mask.merge(coco_mask.frPyObjects(
                [line.ravel().tolist()], *region.shape))
            yield dict(
                segmentation=[line.ravel().tolist()],
                area=float(coco_mask.area(runs)),
                bbox=coco_mask.toBbox(runs).tolist(),
                iscrowd=0)
        return
    runs = coco_mask.encode(np.asfortranarray(region, np.uint8))
    yield dict(
        segmentation=dict(
            size=list(region.shape), counts=runs['counts'].decode()),
        area=float(region.sum()),
        bbox=coco_mask.toBbox(runs).tolist(),
        # Of run lengths, tools expect that they may hold many objects.
        iscrowd=1)


def read_coco(path: Path) -> Iterator[AnnotatedImage]:
    """Regions of a COCO file; the one with the smaller area is on top.

    Args:
        path (Path): The file.

    Yields:
        AnnotatedImage: Each of ``images``.

    Raises:
        ValueError: If it is no such file.
    """
    content = json.loads(path.read_text(encoding='utf-8-sig'))
    try:
        labels = {c['id']: c['name'] for c in content['categories']}
        images = {i['id']: i for i in content['images']}
        found: dict[Any, list[Any]] = {i: [] for i in images}
        for annotation in content['annotations']:
            found[annotation['image_id']].append(annotation)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of COCO's instances: {error!r} "
                         'is missing.') from error
    for number, image in images.items():
        try:
            size = int(image['height']), int(image['width'])
            result = AnnotatedImage(image['file_name'], size, [])
            regions = []
            for annotation in found[number]:
                region = _region(annotation.get('segmentation'), size)
                label = labels[annotation['category_id']]
                if region is None:
                    result.notes.append('annotation without segmentation')
                else:
                    regions.append(Region(label, region))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}: the image {image.get("file_name", number)!r} or one '
                f'of its annotations is wrong ({error}).') from error
        result.regions = sorted(
            regions, key=lambda r: int(r.mask.sum()), reverse=True)
        yield result


def _region(segmentation: Any, size: tuple[int, int]) -> Any:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return np.any([fill(p, size) for p in segmentation], axis=0)
    if tuple(segmentation['size']) != size:
        raise ValueError(f'run lengths are of the size '
                         f'{segmentation["size"]}, the image of {size}')
    runs = segmentation
    if isinstance(runs['counts'], list):
        runs = coco_mask.frPyObjects(runs, *size)
    return coco_mask.decode(runs).astype(bool)
