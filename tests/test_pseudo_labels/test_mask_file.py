"""Masks on disk."""
import json

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from PIL import Image

from mmwsss.pseudo_labels import mask_path, write_mask, write_mask_manifest
from mmwsss.pseudo_labels.mask_file import class_lut, voc_palette
from mmwsss.utils.read_images import read_mask


def test_palette():
    colors = voc_palette()
    assert colors[:21].tolist() == PascalVOCDataset.METAINFO['palette']
    assert len(np.unique(colors, axis=0)) == 256


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_round_trip(tmp_path, dtype):
    mask = np.arange(256).reshape(8, 32).astype(dtype)
    path = write_mask(tmp_path, 'a/b', mask[:, ::-1])
    assert path == tmp_path / 'a/b.png'
    assert np.array_equal(read_mask(path, 'a/b'), mask[:, ::-1])
    with Image.open(path) as picture:
        colors = np.array(picture.getpalette()).reshape(-1, 3)
    assert np.array_equal(colors[:255], voc_palette()[:255])
    assert colors[255].tolist() == [224, 224, 192]


@pytest.mark.parametrize('mask', [
    np.zeros((2, 2)),
    np.zeros((1, 2, 2), np.uint8),
    np.full((2, 2), 256),
    np.full((2, 2), -1),
    np.zeros((0, 2), np.uint8),
    np.ones((2, 2), bool),
])
def test_bad_masks(tmp_path, mask):
    with pytest.raises(ValueError, match='mask of image a '):
        write_mask(tmp_path, 'a', mask)
    assert not list(tmp_path.iterdir())


def test_path():
    assert str(mask_path('m', 'a.b')) == 'm/a.b.png'
    with pytest.raises(ValueError, match='does not name a file'):
        mask_path('m', '../a')


def test_lut():
    assert class_lut([]).tolist() == [0]
    assert class_lut([3, 253]).tolist() == [0, 4, 254]
    assert class_lut([3]).dtype == np.uint8


def test_manifest(tmp_path):
    path = write_mask_manifest(tmp_path / 'm', num_images=2)
    content = json.loads(path.read_text())
    assert content['format'] == 'mmwsss-masks' and content['num_images'] == 2
