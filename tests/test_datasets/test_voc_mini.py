"""Cutting voc_mini out of VOC 2012."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets import VOCImageLevelDataset
from mmwsss.datasets.voc_mini import (
    convert_voc_mini,
    small_size,
    voc_mini_lists,
)
from mmwsss.pseudo_labels.mask_file import write_mask

from .builders import write_xml

CLASSES = VOCImageLevelDataset.METAINFO['classes'][1:]
DATA = Path(__file__).parents[2] / 'data/voc_mini'
IMAGES = dict(
    a=((375, 500), ['dog', 'sofa']), b=((333, 500), ['cat']),
    c=((500, 334), ['person']))


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'VOCdevkit/VOC2012'
    (root / 'JPEGImages').mkdir(parents=True)
    for name, ((height, width), tags) in IMAGES.items():
        image = np.full((height, width, 3), 90, np.uint8)
        image[:, width // 2:] = 200
        cv2.imwrite(str(root / f'JPEGImages/{name}.jpg'), image)
        write_xml(root / f'Annotations/{name}.xml', tags)
        mask = np.zeros((height, width), np.uint8)
        mask[:, width // 2:] = CLASSES.index(tags[0]) + 1
        mask[:, width // 2] = 255
        write_mask(root / 'SegmentationClassAug', name, mask)
    return root


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / 'ids.txt'
    path.write_text('b train\na train train_bal\nc val_bal\n')
    return path


def test_lists_of_the_package():
    lists = voc_mini_lists()
    assert {k: len(v) for k, v in lists.items()} == dict(
        train=3131, train_bal=690, train_official=437, val_bal=193)
    assert set(lists['train_bal']) <= set(lists['train'])
    assert not set(lists['train']) & set(lists['val_bal'])


@pytest.mark.parametrize('size, small', [
    ((500, 375), (320, 240)),
    ((500, 333), (320, 213)),
    ((500, 334), (320, 214)),
    ((300, 200), (300, 200)),
    ((1000, 1), (320, 1)),
])
def test_size(size, small):
    assert small_size(*size) == small


def test_cut(voc, ids, tmp_path):
    out = tmp_path / 'small'
    assert convert_voc_mini(voc, out, ids) == dict(
        train=2, train_bal=1, val_bal=1)
    lists = out / 'ImageSets/Segmentation'
    assert (lists / 'train.txt').read_bytes() == b'a\nb\n'
    assert (out / 'image_labels_voc_xml.json').read_bytes() == (
        b'{\n  "a": ["dog", "sofa"],\n  "b": ["cat"],\n'
        b'  "c": ["person"]\n}\n')
    # The mask of a shows no sofa.
    assert json.loads((out / 'image_labels_from_masks.json').read_text()) == {
        'a': ['dog'],
        'b': ['cat'],
        'c': ['person']
    }
    image = Image.open(out / 'JPEGImages/c.jpg')
    mask = Image.open(out / 'SegmentationClass/c.png')
    assert image.size == mask.size == (214, 320)
    assert mask.mode == 'P' and mask.getpalette()[3:6] == [128, 0, 0]
    person = CLASSES.index('person') + 1
    assert set(np.unique(mask)) <= {0, person, 255}
    # Mask and image are cut to the same grid.
    bright = np.asarray(image)[..., 0] > 145
    agree = (np.asarray(mask) > 0) == bright
    assert agree.mean() > 0.98


def test_goes_on(voc, ids, tmp_path):
    out = tmp_path / 'small'
    convert_voc_mini(voc, out, ids)
    kept = (out / 'JPEGImages/a.jpg').stat().st_mtime_ns
    (out / 'JPEGImages/b.jpg').unlink()
    convert_voc_mini(voc, out, ids)
    assert (out / 'JPEGImages/a.jpg').stat().st_mtime_ns == kept
    assert (out / 'JPEGImages/b.jpg').is_file()


def test_missing_files_are_named_before_anything_is_written(voc, tmp_path):
    with pytest.raises(
            FileNotFoundError,
            match='lacks 3324 of the 3324 files.*get_data.py voc2012'):
        convert_voc_mini(voc, tmp_path / 'small')
    assert not (tmp_path / 'small').exists()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason='needs data/voc_mini')
def test_same_lists_and_labels_as_the_data_of_the_experiments(tmp_path):
    """Byte for byte, from annotations that hold the same objects."""
    labels = json.loads((DATA / 'image_labels_voc_xml.json').read_text())
    voc = tmp_path / 'VOC2012'
    for folder in ('JPEGImages', 'SegmentationClassAug'):
        (voc / folder).mkdir(parents=True)
    for img_id, tags in labels.items():
        write_xml(voc / f'Annotations/{img_id}.xml', tags[::-1])
        for folder, other, suffix in (
            ('JPEGImages', 'JPEGImages', '.jpg'),
            ('SegmentationClassAug', 'SegmentationClass', '.png')):
            (voc / folder / f'{img_id}{suffix}').symlink_to(
                (DATA / other / f'{img_id}{suffix}').resolve())
    out = tmp_path / 'small'
    convert_voc_mini(voc, out)
    for name in ('image_labels_voc_xml.json', 'image_labels_from_masks.json',
                 *(f'ImageSets/Segmentation/{n}.txt'
                   for n in voc_mini_lists())):
        assert (out / name).read_bytes() == (DATA / name).read_bytes(), name
