"""A tiny data set in VOC layout for the tests."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmwsss.datasets import VOCImageLevelDataset, write_image_labels

CLASSES = ('cat', 'dog')
METAINFO = dict(
    classes=('background', *CLASSES),
    palette=[[0, 0, 0], [128, 0, 0], [0, 128, 0]])


def save_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette([i // 3 for i in range(768)])
    picture.save(path)


def make_voc(root: Path,
             labels: dict[str, Sequence[int]],
             size: Sequence[int] = (20, 30),
             split: str = 'train',
             ids: Sequence[str] | None = None) -> Path:
    """Images, masks that show their tags, split list and label file."""
    for folder in ('JPEGImages', 'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for img_id, indices in labels.items():
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f'JPEGImages/{img_id}.jpg'), image)
        mask = np.zeros(size, np.uint8)
        for row, index in enumerate(indices):
            mask[row] = index + 1
        mask[-1] = 255
        save_mask(root / f'SegmentationClass/{img_id}.png', mask)
    (root / f'ImageSets/Segmentation/{split}.txt').write_text(''.join(
        f'{i}\n' for i in (labels if ids is None else ids)))
    write_image_labels(root / 'labels.json', CLASSES, labels)
    return root


def write_xml(path: Path, tags: Sequence[str], difficult: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = ''.join(
        f'<object><name>{tag}</name><difficult>{difficult}</difficult>'
        '<part><name>head</name></part></object>' for tag in tags)
    path.write_text(f'<annotation>{objects}</annotation>')


def make_voc2012(root: Path,
                 train: Sequence[str] = ('a1', 'b2', 'c3', 'd4'),
                 val: Sequence[str] = ('e5', 'f6'),
                 size: Sequence[int] = (48, 64),
                 saliency: bool = False) -> Path:
    """A miniature of VOC 2012 as tools/get_data.py leaves it.

    Cats are bright squares, dogs dark ones; every second image shows a cat.
    """
    classes = VOCImageLevelDataset.METAINFO['classes'][1:]
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (root / 'JPEGImages').mkdir()
    rng = np.random.default_rng(0)
    labels = {}
    for number, img_id in enumerate([*train, *val]):
        index = classes.index(('cat', 'dog')[number % 2])
        mask = np.zeros(size, np.uint8)
        mask[8:-8, 8:-8] = index + 1
        image = rng.integers(90, 160, (*size, 3), dtype=np.uint8)
        image[mask > 0] = (240, 15)[number % 2]
        cv2.imwrite(str(root / f'JPEGImages/{img_id}.jpg'), image)
        save_mask(root / f'SegmentationClassAug/{img_id}.png', mask)
        if img_id in (*train[:2], *val):
            save_mask(root / f'SegmentationClass/{img_id}.png', mask)
        if saliency:
            save_mask(root / f'Saliency/{img_id}.png', 255 * (mask > 0))
        labels[img_id] = [index]
    for name, ids in (('train_aug', train), ('train', train[:2]),
                      ('val', val)):
        (lists / f'{name}.txt').write_text(''.join(f'{i}\n' for i in ids))
    write_image_labels(root / 'image_labels.json', classes, labels)
    return root
