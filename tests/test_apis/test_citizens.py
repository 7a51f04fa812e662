"""Wrappers, loaders and programs of mmengine and mmseg on our parts."""
import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import MMSegInferencer, inference_model, init_model

from mmwsss.apis import run
from mmwsss.apis.cam_inferencer import CAMInferencer
from mmwsss.apis.config_edits import drop_missing_masks
from mmwsss.apis.evaluation_data import evaluation_dataset
from mmwsss.apis.score_cams import score_cams
from mmwsss.apis.score_masks import evaluate_masks
from mmwsss.datasets.samplers import Draw
from mmwsss.engine.hooks import AtomicCheckpointHook
from mmwsss.evaluation import CAMIoUMetric
from mmwsss.pseudo_labels import write_mask
from mmwsss.registry import MODELS

from ..test_datasets.builders import make_voc
from ..test_engine.test_output_hooks import log_of, make_cfg
from ..toy import ROOT
from .test_cam_inferencer import _restore_loader, save  # noqa: F401
from .test_run import arguments

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': [], 'd4': [1], 'e5': [1]}
HOOKS = [dict(type='mmwsss.SaveCAMsHook')]


@pytest.fixture
def data(tmp_path):
    return make_voc(tmp_path / 'data', LABELS)


def joined(loader, *lists):
    """A loader of several lists of images, one after the other."""
    parts = [dict(copy.deepcopy(loader['dataset']), ann_file=name)
             for name in lists]
    return dict(loader, dataset=dict(type='ConcatDataset', datasets=parts))


@pytest.fixture
def concat(data, tmp_path):
    """Config whose data sets are two lists joined."""
    for name, ids in (('one', 'a1 b2'), ('two', 'c3 d4 e5')):
        (data / f'{name}.txt').write_text('\n'.join(ids.split()))
    cfg = make_cfg(data, tmp_path / 'run', HOOKS, steps=2)
    for key in ('train', 'val', 'test'):
        cfg[f'{key}_dataloader'] = joined(cfg[f'{key}_dataloader'], 'one.txt',
                                          'two.txt')
    path = tmp_path / 'concat.py'
    Config(cfg).dump(path)
    return path, tmp_path / 'run'


# -------------------------------------------------------------------- wrappers
@pytest.mark.slow
def test_joined_data_sets(concat, tmp_path):
    config, work_dir = concat
    run.train(**arguments(config))
    metrics = run.test(
        **arguments(config, checkpoint=str(work_dir), out=str(tmp_path / 'c')))
    assert 'of one+two' in log_of(work_dir)
    # Maps are scored alike from files.
    cfg = Config.fromfile(config)
    dataset = evaluation_dataset(cfg)
    assert isinstance(dataset, ConcatDataset) and len(dataset) == 5
    curve = score_cams(tmp_path / 'c', dataset)
    assert curve['mIoU'] == pytest.approx(metrics['mIoU'], abs=0.5)
    run.test(
        **arguments(
            config,
            checkpoint=str(work_dir),
            out=str(tmp_path / 't'),
            train_images=True))
    assert {p.stem for p in (tmp_path / 't').glob('*.npz')} == set(LABELS)
    inferencer = CAMInferencer(
        str(config), str(work_dir), device='cpu', show_progress=False)
    assert inferencer.classes == ('background', 'cat', 'dog')


def test_parts_with_other_values_in_their_masks(tmp_path):
    """One camera's masks hold 1 and 2, those of the other 10 and 20."""
    tags = {'a': [0], 'b': [1], 'c': [0], 'd': [1]}
    data = make_voc(tmp_path / 'data', tags)
    for img_id, (c, ) in tags.items():
        mask = np.zeros((20, 30), np.uint8)
        mask[:9] = c + 1
        write_mask(tmp_path / 'masks', img_id, mask)
        write_mask(data / 'SegmentationClass', img_id,
                   mask * (10 if img_id in 'cd' else 1))
    for name, ids in (('one', 'ab'), ('two', 'cd')):
        (data / f'{name}.txt').write_text('\n'.join(ids))
    cfg = make_cfg(data, tmp_path / 'run', [])
    for lists in (('one.txt', 'two.txt'), ('two.txt', 'one.txt')):
        loader = joined(cfg['test_dataloader'], *lists)
        loader['dataset']['datasets'][lists.index('two.txt')].update(
            mask_values=['10=cat', '20=dog'])
        Config(dict(cfg, test_dataloader=loader)).dump(tmp_path / 'x.py')
        result = evaluate_masks(tmp_path / 'masks', tmp_path / 'x.py')
        assert result['mIoU'] == 100 and result['num_images'] == 4


def test_masks_of_all_parts_or_none(concat, data):
    """'auto' scores joined data only if every part has masks."""
    config, _ = concat
    cfg = Config.fromfile(config)
    for part in cfg.val_dataloader.dataset.datasets:
        part.with_masks = 'auto'
    for img_id in ('c3', 'd4', 'e5'):
        (data / f'SegmentationClass/{img_id}.png').unlink()
    drop_missing_masks(cfg, 'val')
    assert cfg.val_evaluator == []
    for part in cfg.val_dataloader.dataset.datasets:
        assert not part.with_masks
        assert 'mmwsss.LoadMask' not in [s.type for s in part.pipeline]


def test_joined_data_sets_share_no_names(concat, data, tmp_path):
    """Two cameras, two folders, and IMG_1 in both of them."""
    cfg = Config.fromfile(concat[0])
    _, weights = save(cfg.to_dict(), tmp_path)
    other = make_voc(tmp_path / 'other', LABELS)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.datasets[1].update(
            data_root=str(other),
            ann_file='ImageSets/Segmentation/train.txt')
    cfg.dump(tmp_path / 'x.py')
    match = "the name 'a1': .*data.JPEGImages.a1.jpg and .*other.JPEG"
    with pytest.raises(ValueError, match=match):
        run.test(**arguments(tmp_path / 'x.py', checkpoint=weights,
                           out=str(tmp_path / 'c')))
    assert not (tmp_path / 'c').exists()
    with pytest.raises(ValueError, match=match):
        run.train(**arguments(tmp_path / 'x.py', work_dir=str(
            tmp_path / 'again')))
    with pytest.raises(ValueError, match=match):
        evaluation_dataset(cfg)
    # One image may be on two lists.
    cfg.test_dataloader.dataset.datasets[1].update(
        data_root=str(data), ann_file='one.txt')
    assert len(evaluation_dataset(cfg)) == 4


@pytest.mark.parametrize('wrapper', [
    dict(type='RepeatDataset', times=2),
    dict(type='ClassBalancedDataset', oversample_thr=0.5)
])
def test_wrapped_training_data(data, tmp_path, wrapper):
    cfg = make_cfg(data, tmp_path / 'run', [], steps=2)
    loader = cfg['train_dataloader']
    loader['dataset'] = dict(wrapper, dataset=loader['dataset'])
    Config(cfg).dump(tmp_path / 'x.py')
    run.train(**arguments(tmp_path / 'x.py'))
    assert (tmp_path / 'run/iter_2.pth').is_file()


def test_rare_classes_as_documented(data, tmp_path):
    Config(make_cfg(data, tmp_path / 'run', [])).dump(tmp_path / 'base.py')
    text = (ROOT / 'docs/data.md').read_text().split('**Rare classes.**')[1]
    text = text.split('```python')[1].split('```')[0]
    (tmp_path / 'x.py').write_text(
        text.replace('data/photos/config.py', 'base.py').replace('0.1', '.9'))
    cfg = Config.fromfile(tmp_path / 'x.py')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert type(dataset).__name__ == 'ClassBalancedDataset'
    assert len(dataset) > len(LABELS)


def test_draws_keep_their_seed_in_wrappers(data, tmp_path):
    """Augmentation does not depend on workers there either."""
    dataset = make_cfg(data, tmp_path / 'run', [])['train_dataloader'][
        'dataset']
    dataset['pipeline'].insert(
        1, dict(type='mmwsss.PlaceCrop', size=12))
    init_default_scope('mmseg')
    plain = DATASETS.build(dataset)
    for outer, index in ((dict(
            type='ConcatDataset', datasets=[dataset, dataset]), 5 + 1),
                         (dict(type='RepeatDataset', times=3,
                               dataset=dataset), 10 + 1)):
        outer = DATASETS.build(outer)
        views = []
        for seed in (1, 1, 2, 3):
            torch.manual_seed(len(views))
            np.random.seed(len(views))
            views.append(outer[Draw(index, seed)]['inputs'])
        assert torch.equal(views[0], views[1])
        assert torch.equal(views[0], plain[Draw(1, 1)]['inputs'])
        assert not all(torch.equal(views[0], v) for v in views[2:])


# --------------------------------------------------------------------- loaders
@pytest.mark.parametrize('size', [2, 64])
def test_no_workers_and_large_batches(data, tmp_path, size):
    """Settings that config files inherit from others."""
    cfg = make_cfg(data, tmp_path / 'run', [])
    for key in ('train', 'val', 'test'):
        cfg[f'{key}_dataloader'].update(
            num_workers=0, persistent_workers=True, prefetch_factor=4,
            batch_size=size)
    cfg['train_dataloader'].update(
        drop_last=True, sampler=dict(type='mmwsss.SeededSampler'))
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=1)
    cfg['default_hooks'] = dict(checkpoint=dict(
        type='mmwsss.AtomicCheckpointHook', interval=1))
    Config(cfg).dump(tmp_path / 'x.py')
    run.train(**arguments(tmp_path / 'x.py'))
    checkpoint = torch.load(
        tmp_path / 'run/epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == (1 if size == 64 else 2)


# --------------------------------------------------------------- mmseg's apis
@pytest.fixture
def trained(data, tmp_path):
    """Config and checkpoint as a training leaves them."""
    cfg = make_cfg(data, tmp_path / 'run', HOOKS)
    cfg['test_pipeline'] = cfg['test_dataloader']['dataset']['pipeline']
    cfg['visualizer'] = dict(type='SegLocalVisualizer', name='v')
    cfg['model'].update(
        localizer=dict(type='mmwsss.CAM'),
        test_cfg=dict(threshold=0.5, tag_threshold=0.))
    config, weights = save(cfg, tmp_path)
    checkpoint = torch.load(weights)
    meta = cfg['test_dataloader']['dataset']['metainfo']
    checkpoint['meta'] = dict(dataset_meta=dict(meta))
    torch.save(checkpoint, weights)
    return config, weights, str(data / 'JPEGImages/b2.jpg')


def test_mmseg_apis(trained):
    config, weights, image = trained
    ours = CAMInferencer(config, weights, device='cpu', show_progress=False)
    expected = ours(image)['predictions'][0]['mask']
    assert len(np.unique(expected)) > 1

    model = init_model(config, weights, device='cpu')
    assert model.dataset_meta['classes'] == ('background', 'cat', 'dog')
    result = inference_model(model, image)
    assert np.array_equal(result.pred_sem_seg.data[0], expected)
    result = inference_model(model, ours.load_image(
        dict(img_path=image))['img'].astype(np.uint8))
    assert np.array_equal(result.pred_sem_seg.data[0], expected)

    theirs = MMSegInferencer(config, weights, device='cpu')
    assert np.array_equal(theirs(image)['predictions'], expected)


@pytest.mark.parametrize('config', [
    'affinity/affinitynet_small_shapes', 'affinity/irnet_small_shapes',
    'fbr/amn_r18_shapes', 'getam/getam_no-saliency_vit_shapes',
    'frozen/affinity_vit-tiny_custom', 'frozen/linear_lite2-vit-tiny_custom',
    'segmentation/deeplabv2_r18_voc-mini'
])
def test_mmseg_builds_every_kind_of_model(config):
    """It sets pretrained and train_cfg to None."""
    model = init_model(str(ROOT / f'configs/{config}.py'), device='cpu')
    assert type(model).__name__ == Config.fromfile(
        ROOT / f'configs/{config}.py').model.type.split('.')[-1]


def test_mmseg_inferencer_of_a_segmentation_model(trained, tmp_path):
    _, _, image = trained
    cfg = Config.fromfile('configs/segmentation/fcn_shapes.py').to_dict()
    config, weights = save(cfg, tmp_path)
    ours = CAMInferencer(config, weights, device='cpu', show_progress=False)
    theirs = MMSegInferencer(config, weights, device='cpu')
    assert np.array_equal(
        theirs(image)['predictions'],
        ours(image)['predictions'][0]['mask'])


def test_other_pipelines_stay_with_mmseg(trained, tmp_path):
    config, weights, _ = trained
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.pipeline[0].type = 'SomethingElse'
    with pytest.raises(ValueError, match='LoadImageFromFile is not found'):
        MMSegInferencer(cfg, weights, device='cpu')


def test_weights_go_into_init_cfg(trained):
    cfg = Config.fromfile(trained[0])
    with pytest.raises(ValueError, match='init_cfg=dict'):
        MODELS.build(dict(cfg.model, pretrained='x.pth'))


def test_encode_decode_has_gradients(trained):
    model = MODELS.build(Config.fromfile(trained[0]).model)
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    scores = model.encode_decode(image, [{}, {}])
    assert scores.shape == (2, 3, 32, 32)
    assert torch.equal(scores[:, 0], torch.full((2, 32, 32), 0.5))
    scores[:, 1:].sum().backward()
    assert image.grad.abs().sum() > 0
    with torch.no_grad():
        again = model.encode_decode(image, [{}, {}])
    assert torch.allclose(scores, again)


# ------------------------------------------------------------------ inferencer
def test_probabilities(trained, tmp_path):
    _, _, image = trained
    cfg = Config.fromfile('configs/segmentation/fcn_shapes.py').to_dict()
    inferencer = CAMInferencer(
        *save(cfg, tmp_path), device='cpu', show_progress=False)
    result = inferencer(image, return_probs=True)['predictions'][0]
    assert result['probs'].shape == (7, 20, 30)
    np.testing.assert_allclose(result['probs'].sum(0), 1, atol=1e-5)
    assert np.array_equal(result['probs'].argmax(0), result['mask'])
    assert inferencer(image)['predictions'][0]['probs'] is None
    for _ in range(2):  # Then from the file, in half precision.
        stored = inferencer(
            image, return_probs=True,
            out_dir=tmp_path / 'o')['predictions'][0]['probs']
        np.testing.assert_allclose(stored, result['probs'], atol=1e-3)


def test_class_maps_are_no_probabilities(trained):
    inferencer = CAMInferencer(
        *trained[:2], device='cpu', show_progress=False)
    with pytest.raises(ValueError, match='no probability of pixels'):
        inferencer(trained[2], return_probs=True)


def test_bare_weights_take_names_from_the_data(trained, data, tmp_path):
    config, weights, _ = trained
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.pop('metainfo')
    torch.save(torch.load(weights)['state_dict'], tmp_path / 'bare.pth')
    inferencer = CAMInferencer(
        cfg, str(tmp_path / 'bare.pth'), device='cpu', show_progress=False)
    assert inferencer.classes == ('background', 'cat', 'dog')


# --------------------------------------------------------------------- metrics
@pytest.mark.parametrize('metric,rule', [
    ('mIoU', 'greater'), ('mIoU_fixed', 'greater'), ('AP50', 'greater'),
    ('pseudo_mIoU', 'greater'), ('pseudo_coverage', 'greater'),
    ('mFP', 'less'), ('mFN', 'less')
])
def test_best_checkpoint_without_a_rule(metric, rule):
    hook = AtomicCheckpointHook(interval=1, save_best=metric)
    assert hook.rules == [rule]


def test_no_warning_of_prefixes(data, tmp_path):
    cfg = make_cfg(data, tmp_path / 'run', [], steps=2)
    cfg['val_evaluator'] = [dict(type='mmwsss.CAMIoUMetric'),
                            dict(type='IoUMetric', iou_metrics=['mDice'])]
    cfg['default_hooks'] = dict(checkpoint=dict(
        type='mmwsss.AtomicCheckpointHook', by_epoch=False, interval=2,
        save_best='mIoU_fixed'))
    Config(cfg).dump(tmp_path / 'x.py')
    run.train(**arguments(tmp_path / 'x.py'))
    text = log_of(tmp_path / 'run')
    assert 'mIoU_fixed' in text and 'prefix is not set' not in text
    assert list((tmp_path / 'run').glob('best_mIoU_fixed*'))
    assert CAMIoUMetric().prefix == ''
