import json

import numpy as np
import pytest

from mmwsss.apis.evaluation_data import evaluation_dataset
from mmwsss.apis.score_cams import score_cams
from mmwsss.datasets import ShapesDataset
from mmwsss.pseudo_labels import write_cam
from mmwsss.utils.read_images import read_mask

from ..test_tools import TOOLS, python

CONFIG = '''
data = dict(type='mmwsss.ShapesDataset', data_root='shapes', num_train=4,
            num_val=2, image_size=48)
default_scope = 'mmseg'
train_dataloader = dict(dataset=dict(
    data, ann_file='ImageSets/Segmentation/train.txt', pipeline=[]))
test_dataloader = dict(dataset=dict(
    data, ann_file='ImageSets/Segmentation/val.txt', with_masks=True,
    pipeline=[]))
test_evaluator = dict(type='mmwsss.CAMIoUMetric', fixed_threshold=0.3)
'''


def true_cams(mask, tags, noise=0.):
    """Maps that are 1 on their class."""
    maps = np.stack([mask == c + 1 for c in tags]).astype(np.float32)
    return np.clip(maps * 0.9 + noise, 0, 1)


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'cfg.py').write_text(CONFIG)
    dataset = ShapesDataset(
        'shapes', num_train=4, num_val=2, image_size=48, with_masks=True)
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        mask = read_mask(info['seg_map_path'], info['img_id'])
        write_cam('cams', info['img_id'], info['gt_label'],
                  true_cams(mask, info['gt_label']), mask.shape)
    return dataset


def test_perfect_maps_score_perfectly(shapes, tmp_path):
    curve = score_cams(tmp_path / 'cams', shapes)
    assert curve['num_images'] == 4
    assert curve['mIoU'] == pytest.approx(100)
    assert curve['mIoU_fixed'] == pytest.approx(100)
    assert curve['mIoU_all_background'] < 50


def test_half_of_an_object(shapes, tmp_path):
    info = shapes.get_data_info(0)
    mask = read_mask(info['seg_map_path'], info['img_id'])
    maps = true_cams(mask, info['gt_label'])
    maps[:, ::2] = 0
    write_cam('cams', info['img_id'], info['gt_label'], maps, mask.shape)
    curve = score_cams(tmp_path / 'cams', shapes)
    counts = {}
    for i in range(len(shapes)):
        one = shapes.get_data_info(i)
        gt = read_mask(one['seg_map_path'], one['img_id'])
        pred = gt.copy()
        if i == 0:
            pred[::2] = 0
        pred = np.where(gt == 255, 255, pred)
        for c in range(7):
            both = ((gt == c) & (pred == c)).sum()
            any_of = ((gt == c) | (pred == c)).sum()
            old = counts.get(c, (0, 0))
            counts[c] = (old[0] + both, old[1] + any_of)
    expected = 100 * np.mean([b / a for b, a in counts.values() if a])
    assert curve['mIoU_fixed'] == pytest.approx(expected)


def test_small_maps_are_enlarged(shapes, tmp_path):
    for i in range(len(shapes)):
        info = shapes.get_data_info(i)
        mask = read_mask(info['seg_map_path'], info['img_id'])
        maps = true_cams(mask, info['gt_label'])[:, ::2, ::2]
        write_cam('cams', info['img_id'], info['gt_label'], maps, mask.shape)
    assert 70 < score_cams(tmp_path / 'cams', shapes)['mIoU'] < 100


def test_problems_name_the_image(shapes, tmp_path):
    img_id = shapes.get_data_info(2)['img_id']
    file = tmp_path / 'cams' / f'{img_id}.npz'
    content = file.read_bytes()
    file.write_bytes(content[:100])
    with pytest.raises(ValueError, match=img_id):
        score_cams(tmp_path / 'cams', shapes)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=img_id):
        score_cams(tmp_path / 'cams', shapes)
    write_cam('cams', img_id, [0], np.zeros((1, 48, 48), np.float32),
              (48, 40))
    with pytest.raises(ValueError, match=f'{img_id}.*48 x 40'):
        score_cams(tmp_path / 'cams', shapes)


def test_tool(shapes, tmp_path):
    done = python(
        TOOLS / 'evaluate_cams.py', 'cams', 'cfg.py', '--train-images',
        '--threshold', '0.5', '--out', 'out/result.json', cwd=tmp_path)
    assert 'IoU of CAMs' in done.stdout + done.stderr
    result = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert result['metrics']['mIoU_fixed'] == pytest.approx(100)
    assert result['metrics']['fixed_threshold'] == 0.5
    assert (tmp_path / 'out' / 'result.png').stat().st_size > 1000
    # The test images have no maps.
    done = python(
        TOOLS / 'evaluate_cams.py', 'cams', 'cfg.py', cwd=tmp_path,
        check=False)
    assert done.returncode == 1
    assert 'error: There are no CAMs of image' in done.stderr


def test_masks_are_optional(shapes, tmp_path):
    from mmengine.config import Config
    cfg = Config.fromfile('cfg.py')
    assert 'seg_map_path' in evaluation_dataset(
        cfg, train_images=True).get_data_info(0)
    (tmp_path / 'shapes' / 'SegmentationClass' /
     f'{shapes.get_data_info(1)["img_id"]}.png').unlink()
    with pytest.raises(FileNotFoundError):
        evaluation_dataset(cfg, train_images=True)
    found = evaluation_dataset(cfg, train_images=True, masks='optional')
    assert 'seg_map_path' not in found.get_data_info(0)
    # The other split is whole.
    assert 'seg_map_path' in evaluation_dataset(
        cfg, masks='optional').get_data_info(0)
    with pytest.raises(ValueError, match='no train_dataloader'):
        cfg.train_dataloader = None
        evaluation_dataset(cfg, train_images=True)
