"""A tiny data set in VOC layout for the tests."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmwsss.datasets import write_image_labels

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
