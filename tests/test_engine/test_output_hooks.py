"""GalleryHook and SaveCAMsHook in real runs of a small model."""
import hashlib
import json
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.engine import GalleryHook, SaveCAMsHook
from mmwsss.engine.hooks.gallery_hook import (
    LOG_FOLDERS,
    UNTRAINED,
    choice_settings,
    undisturbed,
)
from mmwsss.pseudo_labels import read_cam, read_manifest
from mmwsss.registry import HOOKS

from ..test_datasets.builders import METAINFO, make_voc
from ..test_visualization.test_run_page import data_of

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': [], 'd4': [1], 'e5': [1]}


@pytest.fixture
def data(tmp_path):
    return make_voc(tmp_path / 'data', LABELS)


def make_cfg(data, work_dir, hooks, steps=4, masks=True, **kwargs) -> dict:
    """Config of a run that takes a second."""

    def loader(train: bool) -> dict:
        pipeline = [
            dict(type='mmwsss.LoadImage', to_float32=True),
            dict(type='mmwsss.SquareResize', size=32),
            dict(type='RandomFlip', prob=0.5 if train else 0.)
        ]
        if not train and masks:
            pipeline.append(dict(type='mmwsss.LoadMask'))
        return dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(
                type='InfiniteSampler' if train else 'DefaultSampler',
                shuffle=train),
            dataset=dict(
                type='mmwsss.ImageLevelDataset',
                data_root=str(data),
                ann_file='ImageSets/Segmentation/train.txt',
                labels_file='labels.json',
                metainfo=METAINFO,
                with_masks=not train and masks,
                test_mode=not train,
                pipeline=[*pipeline, dict(type='mmwsss.PackWSSSInputs')]))

    evaluator = dict(type='mmwsss.CAMIoUMetric')
    return dict(
        default_scope='mmseg',
        work_dir=str(work_dir),
        model=dict(
            type='mmwsss.CAMSegmentor',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                size=(32, 32),
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True),
            backbone=dict(
                type='mmwsss.AttentionViT',
                arch=dict(
                    embed_dims=24,
                    num_layers=2,
                    num_heads=3,
                    feedforward_channels=48),
                img_size=32,
                patch_size=8),
            cls_head=dict(
                type='mmwsss.ClassTokenHead', num_classes=2, in_channels=24),
            localizer=dict(type='mmwsss.GETAM', start_layer=1)),
        train_dataloader=loader(True),
        val_dataloader=loader(False),
        test_dataloader=loader(False),
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        train_cfg=dict(by_epoch=False, max_iters=steps, val_interval=2),
        val_cfg=dict(),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
        randomness=dict(seed=1),
        default_hooks=dict(
            checkpoint=dict(
                type='mmwsss.AtomicCheckpointHook',
                by_epoch=False,
                interval=2,
                reseed=False)),
        custom_hooks=hooks,
        log_processor=dict(by_epoch=False),
        experiment_name=work_dir.name) | kwargs


def build(*args, **kwargs) -> Runner:
    return Runner(**make_cfg(*args, **kwargs))


def log_of(work_dir) -> str:
    return ''.join(p.read_text() for p in work_dir.glob('*/*.log'))


def test_registered():
    assert isinstance(
        HOOKS.build(dict(type='mmwsss.GalleryHook')), GalleryHook)
    assert isinstance(
        HOOKS.build(dict(type='mmwsss.SaveCAMsHook')), SaveCAMsHook)


def test_training(data, tmp_path):
    work_dir = tmp_path / 'training_with_gallery'
    runner = build(data, work_dir, [dict(type='mmwsss.GalleryHook',
                                         num_images=3)])
    runner.train()
    page = work_dir / 'gallery' / 'index.html'
    assert (work_dir / 'cam_curve.png').stat().st_size > 1000
    for text in ('mIoU_before_training', 'data:image/png',
                 'The first 3 of 5 images.'):
        assert text in page.read_text()
    data = data_of(page)
    assert [row['id'] for row in data['rows']] == ['a1', 'b2', 'c3']
    # The mask follows from the maps; images without tags have none.
    assert [list(row['stages']) for row in data['rows']] == [['CAM']] * 3
    assert [row['stages']['CAM']['classes'] for row in data['rows']] == [
        [0], [0, 1], []]
    assert [sorted(row['scores']) for row in data['rows']] == [
        ['cat'], ['cat', 'dog'], []]
    assert all(row['gt'] for row in data['rows'])
    assert data['steps'][data['start']] == 0.4  # the model's
    assert data['settings'] == (
        'model = dict(test_cfg=dict(threshold={threshold}))')
    log = log_of(work_dir)
    for text in ('before training, fixed threshold', 'trained, best threshold',
                 'all background', 'first tag everywhere',
                 'Gallery of 3 images', 'cam_curve.png'):
        assert text in log
    assert log.count('Gallery of') == 1  # two validations, one page
    # Nothing that makes pseudo labels: no plot of them.
    assert not (work_dir / 'history.png').exists()


def test_scoring_before_training_changes_nothing(data, tmp_path):
    states = []
    for name, hooks in (
        ('bare', []),
        ('no_reference', [dict(type='mmwsss.GalleryHook',
                               before_train=False)]),
        ('reference', [dict(type='mmwsss.GalleryHook')])):
        # RandomFlip and the sampler draw from the global generators.
        runner = build(data, tmp_path / name, hooks)
        runner.train()
        states.append(runner.model.state_dict())
        log = log_of(tmp_path / name)
        assert ('before training' in log) == (name == 'reference')
    for other in states[1:]:
        for key, value in states[0].items():
            assert torch.equal(value, other[key]), key


def test_hooks_do_not_see_the_scoring(data, tmp_path):
    runner = build(
        data,
        tmp_path / 'save_best',
        [dict(type='mmwsss.GalleryHook')],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                by_epoch=False,
                interval=2,
                save_best='mIoU')))
    runner.train()
    best = list((tmp_path / 'save_best').glob('best_mIoU*'))
    assert best and 'iter_0' not in best[0].name


def test_resume_keeps_the_reference(data, tmp_path):
    hooks = [dict(type='mmwsss.GalleryHook', num_images=1)]
    runner = build(data, tmp_path / 'resumed_a', hooks, steps=2)
    runner.train()
    first = runner.message_hub.get_info(UNTRAINED)
    assert isinstance(first['miou_curve'], list)
    # Another name, so that nothing comes from memory.
    runner = build(
        data,
        tmp_path / 'resumed_b',
        hooks,
        steps=4,
        load_from=str(tmp_path / 'resumed_a' / 'iter_2.pth'),
        resume=True)
    runner.train()
    assert runner.message_hub.get_info(UNTRAINED) == first
    log = log_of(tmp_path / 'resumed_b')
    assert 'Scoring the CAMs' not in log
    assert 'before training, fixed threshold' in log


def test_val_and_test_alone(data, tmp_path):
    hooks = [dict(type='mmwsss.GalleryHook')]
    for kind in ('val', 'test'):
        work_dir = tmp_path / kind
        runner = build(data, work_dir, hooks)
        getattr(runner, kind)()
        page = work_dir / 'gallery' / 'index.html'
        assert len(data_of(page)['rows']) == 5
        assert (work_dir / 'cam_curve.png').exists()
        # Neither may build what only a training needs.
        assert isinstance(runner._train_dataloader, dict)


def test_no_images_and_disabled(data, tmp_path):
    build(data, tmp_path / 'no_images',
          [dict(type='mmwsss.GalleryHook', num_images=0)]).test()
    assert (tmp_path / 'no_images' / 'cam_curve.png').exists()
    assert not (tmp_path / 'no_images' / 'gallery').exists()
    build(data, tmp_path / 'disabled',
          [dict(type='mmwsss.GalleryHook', enabled=False)]).train()
    assert not (tmp_path / 'disabled' / 'cam_curve.png').exists()
    assert not (tmp_path / 'disabled' / 'gallery').exists()
    assert 'before training' not in log_of(tmp_path / 'disabled')
    with pytest.raises(ValueError, match='num_images must not be negative'):
        GalleryHook(num_images=-1)


def test_other_metric(data, tmp_path):
    """Masks are shown where nothing scores CAMs."""
    runner = build(
        data,
        tmp_path / 'masks',
        [dict(type='mmwsss.GalleryHook')],
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))
    runner.train()
    page = tmp_path / 'masks' / 'gallery' / 'index.html'
    assert len(data_of(page)['rows']) == 5
    assert not (tmp_path / 'masks' / 'cam_curve.png').exists()
    assert 'before training' not in log_of(tmp_path / 'masks')


def test_choice_inherits_the_config(tmp_path):
    """What the page offers to save is a config that runs."""
    base = tmp_path / 'my config.py'
    base.write_text(
        "model = dict(type='x', test_cfg=dict(threshold=0.4, flip=True))\n"
        "val_evaluator = dict(type='mmwsss.CAMIoUMetric')\n"
        "test_evaluator = [dict(type='mmwsss.CAMIoUMetric')]\n")
    text = choice_settings(Config.fromfile(base))
    choice = tmp_path / 'choice.py'
    choice.write_text(text.replace('{threshold}', '0.27'))
    cfg = Config.fromfile(choice)
    assert cfg.model.test_cfg == dict(threshold=0.27, flip=True)
    assert cfg.val_evaluator == dict(
        type='mmwsss.CAMIoUMetric', fixed_threshold=0.27)
    assert cfg.test_evaluator == [dict(type='mmwsss.CAMIoUMetric')]


def test_images_that_come_again(data, tmp_path):
    """A list with an image twice shows it once."""
    runner = build(data, tmp_path / 'twice', [dict(type='mmwsss.GalleryHook')])
    hook = next(h for h in runner.hooks if isinstance(h, GalleryHook))
    sample = SegDataSample(metainfo=dict(img_id='a1', img_path='gone'))
    sample.set_data(
        dict(pred_sem_seg=PixelData(data=torch.zeros(1, 4, 4).long())))
    batch = dict(inputs=[torch.zeros(3, 4, 4)] * 2)
    hook.after_val_iter(runner, 0, batch, [sample, sample])
    assert len(hook.rows) == 1


def test_history(data, tmp_path):
    """From the logs of this training and of those it goes on from."""
    runner = build(data, tmp_path / 'history', [])
    runner.model.train_cfg = dict(seg_start=0.25)
    logs = dict(
        first=[dict(mIoU=1., step=2), dict(mIoU=2., step=4)],
        other=[dict(mIoU=77., step=2)],
        second=[dict(loss=1., step=3),
                {'mIoU': 3., 'cam/mIoU': 9., 'pseudo_mIoU': 5., 'step': 4}])
    for name, lines in logs.items():
        folder = tmp_path / 'history' / name / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text(
            ''.join(json.dumps(line) + '\n' for line in lines))
    runner.message_hub.update_info(LOG_FOLDERS, ['first', 'gone', 'second'])
    curves, unit, switch = GalleryHook._history(runner)
    assert curves == {
        'mIoU of predictions': [(2, 1.), (4, 3.)],
        'mIoU of predictions (cam)': [(4, 9.)],
        'mIoU of pseudo labels, where they label': [(4, 5.)]
    }
    assert (unit, switch) == ('step', 1)


def test_undisturbed():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()

    def draw():
        return random.random(), np.random.rand(), float(torch.rand(1))

    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with pytest.raises(RuntimeError), undisturbed(model):
        draw()
        model.eval()
        raise RuntimeError
    assert draw() == expected
    assert [m.training for m in model.modules()] == [True, True, False]


def save_hook(folder, **kwargs) -> dict:
    return dict(type='mmwsss.SaveCAMsHook', out_dir=str(folder), **kwargs)


def test_save_cams(data, tmp_path):
    cams = tmp_path / 'cams'
    runner = build(data, tmp_path / 'train', [save_hook(cams)], steps=2)
    runner.train()
    assert not cams.exists()  # tests only

    checkpoint = tmp_path / 'train' / 'iter_2.pth'
    runner = build(
        data, tmp_path / 'test', [save_hook(cams)], load_from=str(checkpoint))
    runner.test()
    assert sorted(p.name for p in cams.iterdir()) == [
        *(f'{name}.npz' for name in LABELS), 'manifest.json']
    for name, labels in LABELS.items():
        cam = read_cam(cams / f'{name}.npz', 2, (20, 30))
        assert cam.class_ids.tolist() == labels
        assert cam.cam.shape == (len(labels), 20, 30)
    manifest = read_manifest(cams)
    assert manifest['num_images'] == 5
    assert manifest['checkpoint'] == str(checkpoint)
    assert manifest['checkpoint_sha256'] == hashlib.sha256(
        checkpoint.read_bytes()).hexdigest()
    assert manifest['split'].endswith('train.txt')
    assert manifest['classes'] == list(METAINFO['classes'])
    assert manifest['test_cfg']['fuse'] == 'sum'
    assert manifest['test_cfg']['flip'] is True
    json.dumps(manifest)
    assert 'CAMs of 5 images are in' in log_of(tmp_path / 'test')


def test_save_cams_without_masks(data, tmp_path):
    """Training images need no mask to get CAMs."""
    evaluator = dict(type='mmwsss.CAMIoUMetric')
    runner = build(
        data, tmp_path / 'scored', [save_hook(tmp_path / 'x')], masks=False,
        test_evaluator=evaluator)
    with pytest.raises(KeyError, match='with_masks=True'):
        runner.test()
    # What was written before the failure is not taken for the whole.
    assert not (tmp_path / 'x' / 'manifest.json').exists()
    runner = build(
        data, tmp_path / 'unscored', [save_hook(tmp_path / 'y')],
        masks=False, test_evaluator=[])
    runner.test()
    assert len(list((tmp_path / 'y').glob('*.npz'))) == 5
    assert (tmp_path / 'y' / 'manifest.json').exists()


def test_interrupted_and_run_again(data, tmp_path):
    cams = tmp_path / 'cams'
    build(data, tmp_path / 'first', [save_hook(cams)]).test()
    before = {p.name: p.read_bytes() for p in cams.glob('*.npz')}
    runner = build(data, tmp_path / 'second', [save_hook(cams)])
    step, calls = runner.model.test_step, []

    def stop(batch):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(batch)

    runner.model.test_step = stop
    with pytest.raises(KeyboardInterrupt):
        runner.test()
    with pytest.raises(FileNotFoundError, match='did not end'):
        read_manifest(cams)
    build(data, tmp_path / 'third', [save_hook(cams)]).test()
    assert read_manifest(cams)['num_images'] == 5
    assert before.keys() == {p.name for p in cams.glob('*.npz')}


def test_files_of_another_run(data, tmp_path):
    (tmp_path / 'cams').mkdir()
    (tmp_path / 'cams' / 'old.npz').write_bytes(b'')
    build(data, tmp_path / 'run', [save_hook(tmp_path / 'cams')]).test()
    assert 'holds 1 more .npz file(s)' in log_of(tmp_path / 'run')


def test_save_cams_on_val(data, tmp_path):
    build(data, tmp_path / 'val', [save_hook(tmp_path / 'c', on_val=True)],
          steps=2).train()
    assert len(list((tmp_path / 'c').glob('*.npz'))) == 5
    assert read_manifest(tmp_path / 'c')['checkpoint'] is None


def test_save_cams_off(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(data, tmp_path / 'run', [
        dict(type='mmwsss.SaveCAMsHook'),
        save_hook(tmp_path / 'c', enabled=False)
    ]).test()
    assert not (tmp_path / 'c').exists()
