"""tools/export_instances.py: a COCO file that pycocotools takes."""
import contextlib
import io
import json
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO

from mmwsss.apis.export_instances import (
    bounding_box,
    coco_of_folder,
    export_instances,
)
from mmwsss.datasets import ImageLevelDataset
from mmwsss.pseudo_labels import write_instances
from mmwsss.pseudo_labels.instance_file import write_instance_manifest
from tests.test_datasets.builders import METAINFO, make_voc
from tests.test_tools import ROOT, call

LABELS = {'x': [0, 1], 'sub/y': [], 'z': [1]}
SIZE = (20, 30)
DATA = """
default_scope = 'mmseg'
data = dict(
    type='mmwsss.ImageLevelDataset', data_root={root!r},
    ann_file='ImageSets/Segmentation/train.txt', labels_file='labels.json',
    metainfo={meta!r}, pipeline=[])
test_dataloader = dict(dataset=dict(
    data, with_masks=True, data_prefix=dict(instance_path='Nowhere')))
train_dataloader = dict(dataset=dict(
    data, ann_file='ImageSets/Segmentation/few.txt'))
"""


@pytest.fixture
def config(tmp_path):
    root = tmp_path / 'data'
    (root / 'JPEGImages/sub').mkdir(parents=True)
    make_voc(root, LABELS)
    (root / 'ImageSets/Segmentation/few.txt').write_text('z\n')
    path = tmp_path / 'config.py'
    path.write_text(DATA.format(root=str(root), meta=METAINFO))
    return path


@pytest.fixture
def found(tmp_path):
    """What is in the files: masks, labels, scores per image."""
    rng = np.random.default_rng(0)
    content = {}
    for img_id, count in (('x', 4), ('sub/y', 0), ('z', 2)):
        masks = rng.random((count, *SIZE)) < 0.3
        masks[:, :3] = masks[:, :, -2:] = False
        labels = np.arange(count) % 2
        scores = np.array([0.9, 0, 0.25, 0.5][:count])
        write_instances(tmp_path / 'found', img_id, masks, labels, scores,
                        SIZE)
        content[img_id] = masks, labels, scores
    return content


def export(config, **kwargs):
    out = config.parent / 'out.json'
    counts = export_instances(config.parent / 'found', config, out, **kwargs)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(out)), counts


def test_joined_data_and_other_classes(config, found):
    """Two lists, and files that were made for other names."""
    with config.open('a') as file:
        file.write("""
few = dict(data, ann_file='ImageSets/Segmentation/few.txt')
test_dataloader = dict(dataset=dict(
    type='ConcatDataset', datasets=[few, dict(few)]))
""")
    coco, counts = export(config)
    assert counts[0] == 1
    assert {i['file_name'] for i in coco.dataset['images']} == {'z.jpg'}
    write_instance_manifest(
        config.parent / 'found', classes=['background', 'dog', 'cat'])
    with pytest.raises(ValueError, match='(?s)made for other.*another order'):
        export(config)


def test_coco_reads_the_masks(config, found):
    coco, counts = export(config)
    assert counts == (3, 4)
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())
            ] == ['cat', 'dog']
    images = {i['file_name']: i for i in coco.dataset['images']}
    assert set(images) == {'x.jpg', 'sub/y.jpg', 'z.jpg'}
    for img_id, (masks, labels, scores) in found.items():
        image = images[f'{img_id}.jpg']
        assert (image['height'], image['width']) == SIZE
        annotations = coco.loadAnns(coco.getAnnIds(image['id']))
        kept = np.flatnonzero(scores)
        assert len(annotations) == len(kept)
        for annotation, i in zip(annotations, kept):
            assert np.array_equal(coco.annToMask(annotation) > 0, masks[i])
            assert annotation['category_id'] == labels[i] + 1
            assert annotation['score'] == pytest.approx(scores[i])
            assert annotation['area'] == masks[i].sum()
            assert annotation['iscrowd'] == 0
            x, y, w, h = annotation['bbox']
            inside = np.zeros(SIZE, bool)
            inside[y:y + h, x:x + w] = True
            assert not (masks[i] & ~inside).any()
            assert masks[i][y].any() and masks[i][y + h - 1].any()
            assert masks[i][:, x].any() and masks[i][:, x + w - 1].any()
    ids = [a['id'] for a in coco.dataset['annotations']]
    assert ids == [1, 2, 3, 4]


def test_choices(config, found):
    coco, counts = export(config, min_score=0.3)
    assert counts == (3, 3)
    assert min(a['score'] for a in coco.dataset['annotations']) == 0.5
    assert export(config, train_images=True)[1] == (1, 1)
    few = export(config, split='ImageSets/Segmentation/few.txt')
    assert few[1] == (1, 1)
    assert export(config, min_score=1)[1] == (3, 0)
    with pytest.raises(ValueError, match='--min-score'):
        export(config, min_score=2)


def test_box_of_one_pixel():
    mask = np.zeros((5, 7), bool)
    mask[2, 6] = True
    assert bounding_box(mask) == [6, 2, 1, 1]
    assert bounding_box(np.ones((5, 7), bool)) == [0, 0, 7, 5]


def test_empty_masks_are_left_out(tmp_path):
    make_voc(tmp_path, {'x': [0]})
    dataset = ImageLevelDataset(
        data_root=str(tmp_path),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO)
    write_instances(tmp_path / 'f', 'x', np.zeros((1, *SIZE), bool),
                    np.zeros(1, int), np.ones(1), SIZE)
    assert coco_of_folder(tmp_path / 'f', dataset)['annotations'] == []


def test_missing_and_wrong_files(config, found):
    folder = config.parent / 'found'
    # A class that the data set does not have.
    write_instances(folder, 'z', np.ones((1, *SIZE), bool), np.array([2]),
                    np.ones(1), SIZE)
    with pytest.raises(ValueError, match=r'image z .*0\.\.1'):
        export(config)
    (folder / 'z.json').unlink()
    with pytest.raises(FileNotFoundError, match='of 1 of 3 images.* z.*test'):
        export(config)
    assert not (config.parent / 'out.json').exists()


@pytest.mark.slow
def test_tool(config, found):
    out = config.parent / 'tool.json'
    tool = ROOT / 'tools/export_instances.py'
    folder = config.parent / 'found'
    done = call(sys.executable, tool, folder, config, out, cwd=config.parent)
    assert f'{out}: 4 instances in 3 images' in done.stdout
    assert len(json.loads(out.read_text())['annotations']) == 4
    done = call(
        sys.executable, tool, config.parent, config, out, cwd=config.parent,
        check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'lacks the instances of 3 of 3 images' in done.stderr
