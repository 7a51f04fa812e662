"""Scoring where there are masks, and no scoring where there are none."""
import numpy as np
import pytest
from mmengine.config import Config

from mmwsss.apis.config_edits import drop_missing_masks
from mmwsss.apis.evaluation_data import check_true_masks

from ..test_datasets.builders import METAINFO, make_voc, save_mask
from ..test_tools import python

LABELS = {'a': (0, ), 'b': (0, 1), 'c': (1, )}


def config(root, masks, **more) -> Config:
    make_voc(root, LABELS)
    pipeline = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadMask'),
        dict(
            type='TestTimeAug',
            transforms=[[dict(type='RandomFlip', prob=0.)],
                        [dict(type='mmwsss.LoadMask')],
                        [dict(type='mmwsss.PackWSSSInputs')]])
    ]
    loader = dict(dataset=dict(
        type='mmwsss.ImageLevelDataset',
        data_root=str(root),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        data_prefix=dict(seg_map_path=masks),
        with_masks='auto',
        pipeline=pipeline))
    evaluator = dict(type='mmwsss.CAMIoUMetric')
    return Config(dict(
        default_scope='mmseg',
        val_dataloader=loader, test_dataloader=loader,
        val_evaluator=evaluator, test_evaluator=evaluator,
        default_hooks=dict(checkpoint=dict(save_best='mIoU')), **more))


def test_no_masks(tmp_path, caplog):
    cfg = config(tmp_path, 'nothing')
    drop_missing_masks(cfg, 'val')
    assert cfg.val_evaluator == [] and cfg.test_evaluator != []
    dataset = cfg.val_dataloader.dataset
    assert dataset.with_masks is False
    assert [step.type for step in dataset.pipeline] == [
        'mmwsss.LoadImage', 'TestTimeAug']
    assert [[s.type for s in way] for way in dataset.pipeline[1].transforms
            ] == [['RandomFlip'], ['mmwsss.PackWSSSInputs']]
    assert cfg.default_hooks.checkpoint.save_best is None
    assert cfg.test_dataloader.dataset.with_masks == 'auto'


def test_masks(tmp_path):
    cfg = config(tmp_path, 'SegmentationClass')
    drop_missing_masks(cfg, 'val', 'test')
    for key in ('val', 'test'):
        assert cfg[f'{key}_dataloader'].dataset.with_masks is True
        assert len(cfg[f'{key}_dataloader'].dataset.pipeline) == 3
        assert cfg[f'{key}_evaluator'].type == 'mmwsss.CAMIoUMetric'
    (tmp_path / 'SegmentationClass/b.png').unlink()
    cfg = config(tmp_path / 'x', '../SegmentationClass')
    with pytest.raises(FileNotFoundError, match=r'1 mask\(s\) .*: b '):
        drop_missing_masks(cfg, 'val')


def test_data_sets_that_say_so_are_left_alone(tmp_path):
    cfg = config(tmp_path, 'nothing')
    cfg.val_dataloader.dataset.with_masks = True
    cfg.test_dataloader = None
    before = cfg.val_dataloader.to_dict()
    drop_missing_masks(cfg, 'val', 'test')
    assert cfg.val_dataloader.to_dict() == before
    assert cfg.val_evaluator.type == 'mmwsss.CAMIoUMetric'


def test_images_without_any_tag(tmp_path):
    """Their masks would give the background's IoU as the mean of all."""
    cfg = config(tmp_path, 'SegmentationClass')
    (tmp_path / 'bare.txt').write_text('d\n')
    make_voc(tmp_path, dict(LABELS, d=()))
    check_true_masks(cfg, 'val')
    cfg.val_dataloader.dataset.ann_file = 'bare.txt'
    with pytest.raises(ValueError, match='None of the 1 images of .*bare.txt '
                       'has a tag'):
        check_true_masks(cfg, 'val')


@pytest.mark.slow
def test_training_without_and_with_masks(tmp_path):
    """A csv is all that is needed; masks are scored when they come."""
    import cv2
    for i in range(6):
        image = np.full((32, 32, 3), 40 * i, np.uint8)
        cv2.imwrite(str(tmp_path / f'im {i}.png'), image)
    (tmp_path / 'tags.csv').write_text('image,dog,cat\n' + ''.join(
        f'im {i}.png,{i % 2},{i % 3 % 2}\n' for i in range(6)))
    done = python(
        'tools/dataset_converters/custom.py', tmp_path / 'tags.csv',
        tmp_path / 'data', '--base', 'configs/cam/cam_r18_shapes.py')
    command = [
        'tools/train.py', tmp_path / 'data/config.py', '--work-dir',
        tmp_path / 'run', '--cfg-options', 'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1', 'param_scheduler=[]',
        *(f'{k}_dataloader.{x}' for k in ('train', 'val')
          for x in ('num_workers=0', 'persistent_workers=False'))
    ]
    done = python(*command)
    assert 'looked at, not scored' in done.stdout + done.stderr
    assert (tmp_path / 'run/epoch_1.pth').is_file()
    assert (tmp_path / 'run/gallery/index.html').is_file()
    for img_id in (tmp_path / 'data/val.txt').read_text().splitlines():
        number = int(img_id.split()[1])
        value = 1 if number % 2 else 2 if number % 3 == 1 else 0
        save_mask(tmp_path / f'data/SegmentationClass/{img_id}.png',
                  value * np.eye(32))
    done = python(*command)
    assert 'not scored' not in done.stdout + done.stderr
    assert 'mIoU_fixed' in done.stdout + done.stderr
