"""COCO 2014 with tags."""
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.utils import track_iter_progress

from mmwsss.pseudo_labels.mask_file import mask_path, voc_palette, write_mask
from mmwsss.registry import DATASETS
from mmwsss.utils.coco_regions import Region, paint_region, parse_region
from mmwsss.utils.io import atomic_write, remove_temporary
from mmwsss.utils.json_stream import iter_members

from .image_labels import write_image_labels
from .image_level import ImageLevelDataset

#: Images in the split lists.
SPLIT_SIZES = dict(
    train=82783, train_tagged=82081, val=40504, val_tagged=40137)
#: Numbers below 91 that no category has.
_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
#: The official category ids; their order is that of the classes.
CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in _GAPS)
#: Every so many images of train_tagged are in train_part.
_PART = 16


@DATASETS.register_module()
class COCOImageLevelDataset(ImageLevelDataset):
    """COCO 2014 with image-level labels.

    Takes the arguments of :class:`ImageLevelDataset`. The 80 classes stand
    in the order of the official category ids, which run from 1 to 90 with
    ten gaps: class 0 is person (1), class 79 toothbrush (90). The label file
    is written by ``tools/dataset_converters/coco.py``. Images and masks of
    train2014 are the default; for val2014 set ``data_prefix``.
    """
    METAINFO = dict(
        classes=('background', 'person', 'bicycle', 'car', 'motorcycle',
                 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
                 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird',
                 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear',
                 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie',
                 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball',
                 'kite', 'baseball bat', 'baseball glove', 'skateboard',
                 'surfboard', 'tennis racket', 'bottle', 'wine glass', 'cup',
                 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
                 'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog',
                 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant',
                 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse',
                 'remote', 'keyboard', 'cell phone', 'microwave', 'oven',
                 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase',
                 'scissors', 'teddy bear', 'hair drier', 'toothbrush'),
        palette=voc_palette()[:81].tolist())
    PREPARE = 'python tools/dataset_converters/coco.py PATH/TO/COCO2014'
    PREFIX = dict(
        ImageLevelDataset.PREFIX,
        img_path='train2014',
        seg_map_path='SegmentationClass/train2014')


class COCOObject(NamedTuple):
    """One annotation.

    Attributes:
        class_id (int): 0..79.
        area (float): In pixels, as annotated.
        region (list[ndarray] | RunLengths): Its pixels.
    """
    class_id: int
    area: float
    region: Region


class COCOImage(NamedTuple):
    """One image and what is annotated in it.

    Attributes:
        img_id (str): File name without ``.jpg``.
        height (int): In pixels.
        width (int): In pixels.
        objects (list[COCOObject]): In the order of the file.
    """
    img_id: str
    height: int
    width: int
    objects: list[COCOObject]

    @property
    def label(self) -> tuple[int, ...]:
        """Classes with an annotation, sorted."""
        return tuple(sorted({o.class_id for o in self.objects}))


class ListCounts(NamedTuple):
    """What a split list holds.

    Attributes:
        images (int): Images.
        tags (int): Tags of all of them together.
        bare (int): Images without any tag.
    """
    images: int
    tags: int
    bare: int


def read_instances(path: str | Path) -> list[COCOImage]:
    """Read an instance annotation file of COCO.

    The file is read bit by bit. What stays in memory are the outlines: less
    than twice the size of the file, half a gigabyte for train2014.

    Args:
        path (str | Path): ``instances_train2014.json`` or of val2014.

    Returns:
        list[COCOImage]: Sorted by ``img_id``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off, is no such file, has other categories
            than COCO, or contradicts itself; names the key and its position.
    """
    images: dict[int, COCOImage] = {}
    objects: dict[int, list[COCOObject]] = {}
    names: dict[int, str] = {}
    for key, index, item in iter_members(path):
        where = f'{path}: {key}[{index}]'
        if key == 'images':
            number, image = _parse_image(item, where)
            if number in images:
                raise ValueError(f'{where}: the id {number} stands there '
                                 'twice.')
            images[number] = image
        elif key == 'annotations':
            number, thing = _parse_annotation(item, where)
            objects.setdefault(number, []).append(thing)
        elif key == 'categories':
            number, name = _fields(item, dict(id=int, name=str), where)
            names[number] = name
    for key, found in (('images', images), ('annotations', objects),
                       ('categories', names)):
        if not found:
            raise ValueError(
                f'{path}: the list {key!r} is missing or empty. The file '
                'must be one of instances_train2014.json and '
                'instances_val2014.json.')
    expected = dict(
        zip(CATEGORY_IDS, COCOImageLevelDataset.METAINFO['classes'][1:]))
    if names != expected:
        wrong = sorted(set(names.items()) ^ set(expected.items()))
        raise ValueError(
            f"{path}: 'categories' are not the 80 of COCO; id and name "
            f'differ for {wrong[:3]}. For other classes use '
            'mmwsss.ImageLevelDataset.')
    unknown = sorted(set(objects) - set(images))
    if unknown:
        raise ValueError(
            f"{path}: 'annotations' belong to {len(unknown)} image_id(s) "
            f"that 'images' lacks: {unknown[:5]}.")
    for number, things in objects.items():
        images[number].objects.extend(things)
    images = sorted(images.values(), key=lambda image: image.img_id)
    for one, other in zip(images, images[1:]):
        if one.img_id == other.img_id:
            raise ValueError(f"{path}: two of 'images' have the file_name "
                             f'{one.img_id}.jpg.')
    return images


def _fields(item: Any, kinds: dict[str, Any], where: str) -> list[Any]:
    """Values of the keys that must be there."""
    if not isinstance(item, dict):
        raise ValueError(f'{where} is {str(item)[:50]!r}, no object with '
                         f'the keys {", ".join(kinds)}.')
    for key, kind in kinds.items():
        if key not in item:
            raise ValueError(
                f'{where} has no {key!r}, only {", ".join(item)}. The file '
                'must be one of instances_train2014.json and '
                'instances_val2014.json.')
        value = item[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f'{where}: {key!r} cannot be '
                             f'{str(value)[:50]!r}.')
    return [item[key] for key in kinds]


def _parse_image(item: Any, where: str) -> tuple[int, COCOImage]:
    number, name, height, width = _fields(
        item, dict(id=int, file_name=str, height=int, width=int), where)
    img_id, dot, suffix = name.rpartition('.')
    if suffix != 'jpg' or not img_id or '/' in name or name.split() != [name]:
        raise ValueError(f"{where}: 'file_name' must be the name of a .jpg "
                         f'file without folder or spaces, is {name!r}.')
    if height < 1 or width < 1:
        raise ValueError(f"{where}: 'height' and 'width' are {height} and "
                         f'{width}.')
    return number, COCOImage(img_id, height, width, [])


_CLASS_OF = {number: c for c, number in enumerate(CATEGORY_IDS)}


def _parse_annotation(item: Any, where: str) -> tuple[int, COCOObject]:
    number, category, area, segmentation = _fields(
        item,
        dict(
            image_id=int,
            category_id=int,
            area=(int, float),
            segmentation=(list, dict)), where)
    if category not in _CLASS_OF:
        raise ValueError(f"{where}: no category has the 'category_id' "
                         f'{category}.')
    try:
        region = parse_region(segmentation)
    except ValueError as error:
        raise ValueError(f"{where}: 'segmentation' of image {number} is "
                         f'wrong: {error}.') from error
    return number, COCOObject(_CLASS_OF[category], area, region)


def draw_mask(image: COCOImage) -> np.ndarray:
    """Turn instances into classes.

    Where objects overlap, the one with the smaller annotated area is seen;
    of equal ones the first. Crowd regions (``iscrowd``), which outline many
    objects of one class at once, are drawn like objects: for the classes of
    pixels it does not matter how many they are.

    Args:
        image (COCOImage): One of :func:`read_instances`.

    Returns:
        ndarray: uint8 (h, w): 0 background, c + 1 class c.

    Raises:
        ValueError: If run lengths are of another size than the image.
    """
    mask = np.zeros((image.height, image.width), np.uint8)
    for thing in reversed(sorted(image.objects, key=lambda o: o.area)):
        try:
            paint_region(mask, thing.region, thing.class_id + 1)
        except ValueError as error:
            raise ValueError(f'An annotation of image {image.img_id}: '
                             f'{error}.') from error
    return mask


def convert_coco(
        root: str | Path,
        masks: bool = True) -> tuple[Path, dict[str, ListCounts]]:
    """Write label file, split lists and masks of COCO 2014.

    Converts the splits whose image folder is there. Images stay where they
    are. Tags are the classes of an image's annotations, crowds included: a
    crowd of people shows people. Images without any annotation keep an empty
    list of tags. Both have a list: ``train``, ``val`` all images,
    ``train_tagged``, ``val_tagged`` those with at least one tag; and
    ``train_part`` is every 16th of ``train_tagged``. Masks that are there
    already stay, so a broken run is resumed by starting it again; remove
    ``SegmentationClass`` to have them drawn anew.

    Args:
        root (str | Path): Folder with ``annotations``, ``train2014`` and
            ``val2014``, or one of the latter.
        masks (bool): Whether to draw the masks, which are only needed to
            measure. Defaults to True.

    Returns:
        tuple: The label file, and for each list in
        ``ImageSets/Segmentation`` what it holds.

    Raises:
        FileNotFoundError: If folders or annotation files are missing.
        ValueError: If annotations are wrong (see :func:`read_instances`), or
            image files are missing, which ``missing_{split}.txt`` then
            lists.
    """
    root = Path(root)
    splits = [s for s in ('train', 'val') if (root / f'{s}2014').is_dir()]
    if not splits:
        raise FileNotFoundError(
            f'There is neither {root}/train2014 nor {root}/val2014. Unpack '
            'train2014.zip, val2014.zip and annotations_trainval2014.zip of '
            'https://cocodataset.org there.')
    images: dict[str, list[COCOImage]] = {}
    for split in splits:
        path = root / f'annotations/instances_{split}2014.json'
        if not path.is_file():
            raise FileNotFoundError(f'There is no {path}. Unpack '
                                    f'annotations_trainval2014.zip in {root}.')
        print(f'reading {path}', flush=True)
        images[split] = read_instances(path)
        _check_files(root, split, images[split])
    labels = {i.img_id: i.label for split in splits for i in images[split]}
    if len(labels) < sum(map(len, images.values())):
        raise ValueError(f'Files in {root}/annotations: train2014 and '
                         'val2014 have images of the same name.')
    counts = {}
    for split in splits:
        ids = [i.img_id for i in images[split]]
        tagged = [i for i in ids if labels[i]]
        lists = {split: ids, f'{split}_tagged': tagged}
        if split == 'train':
            lists['train_part'] = tagged[::_PART]
        for name, members in lists.items():
            _write_list(root / f'ImageSets/Segmentation/{name}.txt', members)
            tags = [len(labels[i]) for i in members]
            counts[name] = ListCounts(len(tags), sum(tags), tags.count(0))
    out = root / 'image_labels.json'
    write_image_labels(out, COCOImageLevelDataset.METAINFO['classes'][1:],
                       labels)
    for split in splits if masks else ():
        _write_masks(root / f'SegmentationClass/{split}2014', images[split])
    return out, counts


def _check_files(root: Path, split: str, images: list[COCOImage]) -> None:
    with os.scandir(root / f'{split}2014') as entries:
        there = {entry.name for entry in entries}
    missing = [i.img_id for i in images if f'{i.img_id}.jpg' not in there]
    if missing:
        path = root / f'missing_{split}.txt'
        _write_list(path, missing)
        raise ValueError(
            f'{len(missing)} of {len(images)} images of {split}2014 have no '
            f'file in {root}/{split}2014: {", ".join(missing[:5])}; {path} '
            f'lists them. Unpack {split}2014.zip again.')


def _write_list(path: Path, ids: Iterable[str]) -> None:
    with atomic_write(path) as temp:
        temp.write_text(''.join(f'{i}\n' for i in ids), encoding='utf-8')


def _write_masks(folder: Path, images: list[COCOImage]) -> None:
    remove_temporary(folder)  # What a killed run left.
    todo = [i for i in images if not mask_path(folder, i.img_id).exists()]
    print(f'{len(images) - len(todo)} of {len(images)} masks are in {folder}; '
          f'drawing {len(todo)}', flush=True)
    palette = COCOImageLevelDataset.METAINFO['palette']
    for image in track_iter_progress(todo) if todo else ():
        write_mask(folder, image.img_id, draw_mask(image), palette)
    print()
