import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmwsss.datasets import VOCImageLevelDataset, read_image_labels
from mmwsss.datasets.voc import convert_voc, find_voc

from .builders import save_mask, write_xml

CLASSES = VOCImageLevelDataset.METAINFO['classes'][1:]
TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/voc.py'


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'VOCdevkit/VOC2012'
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (root / 'JPEGImages').mkdir()
    for i, tags in enumerate((['dog'], ['cat', 'sofa'], ['person'])):
        cv2.imwrite(
            str(root / f'JPEGImages/im{i}.jpg'), np.zeros((4, 5, 3), np.uint8))
        write_xml(root / f'Annotations/im{i}.xml', tags)
        mask = np.zeros((4, 5), np.uint8)
        mask[0] = CLASSES.index(tags[0]) + 1
        save_mask(root / f'SegmentationClassAug/im{i}.png', mask)
    (lists / 'train.txt').write_text('im0\n')
    (lists / 'val.txt').write_text('im2\n')
    return root


def test_convert(voc):
    out, counts = convert_voc(voc)
    assert out == voc / 'image_labels.json'
    labels = read_image_labels(out, CLASSES)
    assert labels['im1'] == (CLASSES.index('cat'), CLASSES.index('sofa'))
    assert counts == dict(train=(1, 0), val=(1, 0), train_aug=(2, 0))
    path = voc / 'ImageSets/Segmentation/train_aug.txt'
    assert path.read_text() == 'im0\nim1\n'
    dataset = VOCImageLevelDataset(
        data_root=str(voc), ann_file=str(path), labels_file=str(out))
    assert len(dataset) == 2


def test_convert_masks(voc):
    out, _ = convert_voc(voc, source='masks')
    assert out.name == 'image_labels_masks.json'
    assert read_image_labels(out, CLASSES)['im1'] == (CLASSES.index('cat'), )
    with pytest.raises(FileNotFoundError, match='SegmentationClass to take'):
        convert_voc(voc, source='masks', mask_dir='SegmentationClass')
    with pytest.raises(ValueError, match="not 'boxes'"):
        convert_voc(voc, source='boxes')


def test_existing_list_is_kept(voc):
    path = voc / 'ImageSets/Segmentation/train_aug.txt'
    path.write_text('im1\n')
    assert convert_voc(voc)[1]['train_aug'] == (1, 0)
    assert path.read_text() == 'im1\n'


def test_find(voc, tmp_path):
    for start in (voc, voc.parent, tmp_path):
        assert find_voc(start).samefile(voc)
    with pytest.raises(FileNotFoundError, match='no VOC 2012'):
        find_voc(voc / 'JPEGImages')


def test_bad_lists(voc):
    lists = voc / 'ImageSets/Segmentation'
    (lists / 'test.txt').write_text('not_published\n')
    convert_voc(voc)
    (lists / 'train.txt').write_text('im0\nim7\n')
    with pytest.raises(
            ValueError, match='1 of 2 images of the list train .*: im7'):
        convert_voc(voc)
    (lists / 'train.txt').write_text('/JPEGImages/im0.jpg /x/im0.png\n')
    with pytest.raises(ValueError, match='one image id per line'):
        convert_voc(voc)
    (lists / 'train.txt').unlink()
    (lists / 'train_aug.txt').unlink()
    (lists / 'val.txt').unlink()
    with pytest.raises(FileNotFoundError, match='val.txt is missing'):
        convert_voc(voc)


def test_tool(voc):
    command = [sys.executable, str(TOOL)]
    done = subprocess.run(
        [*command, str(voc.parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'image_labels.json' in done.stdout
    assert 'papers use 1464' in done.stdout
    done = subprocess.run(
        [*command, str(voc / 'nowhere')], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'error: There is no VOC 2012' in done.stderr
    assert 'Traceback' not in done.stderr
