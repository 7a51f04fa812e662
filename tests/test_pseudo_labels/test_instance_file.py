import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmwsss.pseudo_labels import (
    instance_path,
    read_instances,
    read_manifest,
    write_instance_manifest,
    write_instances,
)
from mmwsss.pseudo_labels.instance_file import decode_mask, encode_mask


def some_masks(count=6, size=(13, 9)):
    rng = np.random.default_rng(0)
    masks = rng.random((count, *size)) < np.linspace(
        0, 1, count)[:, None, None]
    assert not masks[0].any() and masks[-1].all()
    return masks


def test_run_lengths_are_cocos():
    for mask in some_masks():
        counts = encode_mask(mask)
        h, w = mask.shape
        assert sum(counts) == h * w and min(counts[1:], default=1) > 0
        assert np.array_equal(decode_mask(counts, (h, w)), mask)
        theirs = coco_mask.frPyObjects(dict(size=[h, w], counts=counts), h, w)
        assert np.array_equal(coco_mask.decode(theirs) > 0, mask)
        assert theirs == coco_mask.encode(
            np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize(
    'counts', [[5], [2, 5], [-1, 7], [1.5, 4.5], [[6]], ['6']])
def test_wrong_run_lengths(counts):
    with pytest.raises(ValueError, match=r'2 \* 3 pixels'):
        decode_mask(counts, (2, 3))


def test_round_trip(tmp_path):
    masks = some_masks()
    labels = np.arange(6) % 3
    scores = np.array([0, 1e-9, 0.12345678, 0.5, 0.99999, 1], np.float32)
    path = write_instances(tmp_path, 'a/b', masks, labels, scores, (13, 9))
    assert path == instance_path(tmp_path, 'a/b') == tmp_path / 'a/b.json'
    found = read_instances(path, num_classes=3, image_size=(13, 9))
    assert found.img_id == 'b' and found.image_size == (13, 9)
    assert found.masks.dtype == bool
    assert np.array_equal(found.masks, masks)
    assert np.array_equal(found.labels, labels)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert (found.scores > 0).tolist() == (scores > 0).tolist()
    # Nothing else is left lying there.
    assert [p.name for p in (tmp_path / 'a').iterdir()] == ['b.json']


def test_image_without_instances(tmp_path):
    path = write_instances(tmp_path, 'x', np.zeros((0, 4, 5), bool),
                           np.zeros(0, int), np.zeros(0), (4, 5))
    found = read_instances(path)
    assert found.masks.shape == (0, 4, 5)
    assert found.labels.shape == found.scores.shape == (0, )


@pytest.mark.parametrize('change,message', [
    (dict(masks=np.zeros((2, 4, 4), bool)), 'masks must be bool'),
    (dict(masks=np.zeros((2, 4, 5))), 'masks must be bool'),
    (dict(labels=np.zeros(3, int)), '2 integers'),
    (dict(labels=np.zeros(2)), '2 integers'),
    (dict(labels=np.array([0, -1])), 'not be negative'),
    (dict(scores=np.array([0.5, 1.5])), r'lie in \[0, 1\]'),
    (dict(scores=np.array([0.5, np.nan])), r'lie in \[0, 1\]'),
    (dict(scores=np.array([0, 1])), '2 floats'),
])
def test_wrong_arrays_are_not_written(tmp_path, change, message):
    arrays = dict(
        masks=np.zeros((2, 4, 5), bool),
        labels=np.zeros(2, int),
        scores=np.zeros(2)) | change
    with pytest.raises(ValueError, match=f'image x: .*{message}'):
        write_instances(tmp_path, 'x', **arrays, image_size=(4, 5))
    assert not list(tmp_path.iterdir())


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='image x .*tools/test.py'):
        read_instances(tmp_path / 'x.json')
    path = write_instances(tmp_path, 'x', np.ones((1, 4, 5), bool),
                           np.array([2]), np.array([0.5]), (4, 5))
    good = json.loads(path.read_text())
    with pytest.raises(ValueError, match=r'lie in 0\.\.1'):
        read_instances(path, num_classes=2)
    with pytest.raises(ValueError, match='4 x 5 .* this one has 5 x 4'):
        read_instances(path, image_size=(5, 4))
    for change, message in ((dict(format='other'), 'does not say format'),
                            (dict(version=9), 'version 9'),
                            (dict(masks=[[3]]), r'4 \* 5 pixels'),
                            (dict(scores=[]), '1 floats')):
        path.write_text(json.dumps(good | change))
        with pytest.raises(ValueError, match=f'image x.*{message}'):
            read_instances(path)
    del good['labels']
    path.write_text(json.dumps(good))
    with pytest.raises(ValueError, match="lack .'labels'"):
        read_instances(path)
    path.write_text('{"format"')
    with pytest.raises(ValueError, match='no JSON.*Delete the file'):
        read_instances(path)


def test_manifest_is_no_image(tmp_path):
    write_instance_manifest(tmp_path, num_images=3)
    content = json.loads((tmp_path / 'manifest.json').read_text())
    assert content['num_images'] == 3
    assert content['format'] == 'mmwsss-instances'
    # Readers of other folders refuse it.
    with pytest.raises(ValueError, match='mmwsss-cams'):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match="'manifest'.*Rename"):
        instance_path(tmp_path, 'manifest')
    assert instance_path(tmp_path, 'a/manifest').name == 'manifest.json'
