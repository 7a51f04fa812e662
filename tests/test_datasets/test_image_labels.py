import json

import numpy as np
import pytest

from mmwsss.datasets import (
    labels_from_voc_xml,
    read_image_labels,
    write_image_labels,
)
from mmwsss.pseudo_labels import labels_from_mask

from .builders import CLASSES, write_xml


def test_round_trip(tmp_path):
    path = tmp_path / 'labels.json'
    labels = {'2007_000032': (0, 1), '2007_000039': (), 'ümlaut "x"': (1, )}
    write_image_labels(path, CLASSES, labels)
    assert read_image_labels(path, CLASSES) == labels
    content = json.loads(path.read_text())
    assert content['format'] == 'mmwsss-image-labels'
    assert content['version'] == 1
    assert content['classes'] == ['cat', 'dog']
    # Classes may stand in another order in the dataset.
    assert read_image_labels(path, ('dog', 'x', 'cat'))['2007_000032'] == (0,
                                                                           2)
    assert not list(tmp_path.glob('.*'))


def test_write_nothing_and_wrong_index(tmp_path):
    path = tmp_path / 'labels.json'
    write_image_labels(path, CLASSES, {})
    assert read_image_labels(path, CLASSES) == {}
    with pytest.raises(ValueError, match=r'Image a .*\[2\].* 2 classes'):
        write_image_labels(path, CLASSES, {'a': [2]})
    assert read_image_labels(path, CLASSES) == {}


def test_bare_mapping(tmp_path):
    path = tmp_path / 'labels.json'
    path.write_text('{"a": ["dog", "cat", "dog"], "b": []}')
    assert read_image_labels(path, CLASSES) == dict(a=(0, 1), b=())


def test_csv(tmp_path):
    path = tmp_path / 'labels.csv'
    path.write_text('\ufeffimage,tags\n2007_000032,dog; cat\nb,\n\nc\n')
    assert read_image_labels(path, CLASSES) == {
        '2007_000032': (0, 1),
        'b': (),
        'c': ()
    }


@pytest.mark.parametrize('name, text, message', [
    ('x.json', '{"a": ["Dgo"]}',
     r"Image a .* unknown tag 'Dgo'.*mean 'dog'.*Known tags: cat, dog"),
    ('x.json', '{"a": ["zebra"]}', r"Image a .*'zebra'.*json\. Known tags"),
    ('x.json', '{"a": ["cat"], "a": ["dog"]}', r"'a' stands there twice"),
    ('x.json', '{"a": 3}', r"image a .* are 3, not a list"),
    ('x.json', '{"a": [1]}', r'image a .*\[1\], not a list'),
    ('x.json', '["a"]', r'holds a list, not a mapping'),
    ('x.json', '{"a": [', r'x\.json: Expecting'),
    ('x.json', '{"format": "mmwsss-image-labels", "version": 9, "labels": {}}',
     r'version 9; known is .* version 1'),
    ('x.json', '{"classes": ["cow"], "labels": {}}', r"lacks: \['cow'\]"),
    ('x.csv', 'image,tags\na.png,cat\na,dog\n', r"'a' stands twice .*Line 3"),
    ('x.csv', 'a,cat\n', r"header must be 'image,tags'"),
    ('x.csv', '', r"header must be 'image,tags'"),
    ('x.csv', 'image,tags\na,cat,dog\n', r'Line 2 .* 3 columns'),
    ('x.txt', 'a cat\n', r"ends in '\.txt'"),
])
def test_bad_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_image_labels(tmp_path / name, CLASSES)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='dataset_converters/voc.py'):
        read_image_labels(tmp_path / 'x.json', CLASSES)


def test_pickled_vectors(tmp_path):
    path = tmp_path / 'cls_labels.npy'
    np.save(path, {'2007_000032': np.array([1., 0.]), 2007000039: [0, 1]})
    with pytest.raises(ValueError, match='allow_pickle=True'):
        read_image_labels(path, CLASSES)
    assert read_image_labels(
        path, CLASSES, allow_pickle=True) == {
            '2007_000032': (0, ),
            '2007_000039': (1, )
        }
    with pytest.raises(ValueError, match=r'2007_000032.*\(2,\).*\(3,\)'):
        read_image_labels(path, ('a', 'b', 'c'), allow_pickle=True)
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match='no dictionary'):
        read_image_labels(path, CLASSES, allow_pickle=True)


def test_voc_xml(tmp_path):
    path = tmp_path / '2007_000032.xml'
    write_xml(path, ['dog', 'cat', 'dog'], difficult=1)
    assert labels_from_voc_xml(path, CLASSES) == (0, 1)
    write_xml(path, [])
    assert labels_from_voc_xml(path, CLASSES) == ()
    write_xml(path, ['cow'])
    with pytest.raises(ValueError, match="Image 2007_000032 .*'cow'"):
        labels_from_voc_xml(path, CLASSES)
    path.write_text('<annotation>')
    with pytest.raises(ValueError, match='2007_000032 is no readable XML'):
        labels_from_voc_xml(path, CLASSES)
    with pytest.raises(FileNotFoundError, match='Image x has no annotation'):
        labels_from_voc_xml(tmp_path / 'x.xml', CLASSES)


def test_mask():
    mask = np.array([[0, 255], [2, 2]], np.uint8)
    assert labels_from_mask(mask, 2) == (1, )
    assert labels_from_mask(mask * 0, 2) == ()
    with pytest.raises(ValueError, match=r'image x holds \[2\].*1\.\.1'):
        labels_from_mask(mask, 1, img_id='x')
