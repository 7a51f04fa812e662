"""Configs of segmentation models: data, test-time views, learning rates."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope

from mmwsss.apis.config_edits import enable_tta
from mmwsss.apis.run import pretrained_paths
from mmwsss.datasets import ShapesDataset, write_image_labels

from . import small_models
from .small_models import without_values
from .test_configs import needs_mmdet
from .test_datasets.builders import make_voc, save_mask

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted([
    *(ROOT / 'configs/segmentation').glob('*.py'),
    *(ROOT / 'configs/weaktr').glob('weaktr_segmenter_*.py')
])
LABELS = {'x': [0, 1], 'y': [], 'z': [1]}

every_config = pytest.mark.parametrize('path', CONFIGS,
                                       ids=[p.stem for p in CONFIGS])


def load(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    for where, _ in pretrained_paths(cfg.model):
        cfg.merge_from_dict({where: None})  # The weights are not here.
    return cfg


def place_data(cfg, root, size=(60, 90)):
    """Let both data sets of a config read a small one in ``root``."""
    inner = cfg.train_dataloader.dataset.dataset
    for data in (inner, cfg.val_dataloader.dataset,
                 cfg.test_dataloader.dataset):
        data.data_root = str(root / 'data')
        if data.type == 'mmwsss.ShapesDataset':
            data.update(num_train=3, num_val=2, image_size=48)
        else:
            data.update(
                ann_file='ImageSets/Segmentation/train.txt',
                labels_file='labels.json',
                # COCO's images lie elsewhere.
                data_prefix=dict(
                    img_path='JPEGImages', seg_map_path='SegmentationClass'))
    cls = DATASETS.get(inner.type)
    if issubclass(cls, ShapesDataset):
        ids = [i['img_id'] for i in DATASETS.build(inner)]
        size = (48, 48)
    else:
        make_voc(root / 'data', LABELS, size)
        write_image_labels(root / 'data/labels.json',
                           cls.METAINFO['classes'][1:], LABELS)
        ids = list(LABELS)
    for i, img_id in enumerate(ids):
        save_mask(root / f'masks/{img_id}.png', np.full(size, i))
    cfg.train_dataloader.dataset.mask_dir = str(root / 'masks')
    return ids


@every_config
def test_trains_on_pseudo_masks_alone(path, tmp_path):
    cfg = load(path)
    ids = place_data(cfg, tmp_path)
    assert cfg.train_dataloader.dataset.type == 'mmwsss.PseudoMaskDataset'
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == len(ids)
    for i, img_id in enumerate(ids):
        info = dataset.get_data_info(i)
        assert info['seg_map_path'] == str(tmp_path / f'masks/{img_id}.png')
        data = dataset[i]
        assert data['inputs'].shape == (3, *cfg.crop_size)
        mask = data['data_samples'].gt_sem_seg.data
        assert mask.shape == (1, *cfg.crop_size)
        # The i-th pseudo mask is i everywhere, padding is ignored.
        assert set(mask.unique().tolist()) <= {i, 255}
        assert (mask == i).any()
    by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.train_dataloader.sampler.type == (
        'mmwsss.SeededSampler'
        if by_epoch else 'mmwsss.InfiniteSeededSampler')


@every_config
def test_measures_true_masks_at_their_size(path, tmp_path):
    cfg = load(path)
    place_data(cfg, tmp_path)
    METRICS.build(cfg.val_evaluator)
    assert cfg.val_evaluator.type == 'IoUMetric'
    enable_tta(cfg)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(loader.dataset)
        for i in range(len(dataset)):
            samples = dataset[i]['data_samples']
            looks = samples if isinstance(samples, list) else [samples]
            for look in looks:
                assert 'Class' in look.seg_map_path
                assert look.gt_sem_seg.data.shape[1:] == look.ori_shape
                assert Path(look.img_path).is_file()
    scales = {look.img_shape for look in looks}
    flips = {look.get('flip', False) for look in looks}
    assert len(looks) == len(scales) * len(flips)
    if 'deeplabv1' in path.stem:
        assert len(looks) == 12


@every_config
def test_tta_model_builds(path):
    needs_mmdet(path)
    cfg = load(path)
    enable_tta(cfg)
    model = MODELS.build(cfg.model)
    assert model.module.num_classes == len(
        DATASETS.get(cfg.val_dataloader.dataset.type).METAINFO['classes'])
    assert type(model).__name__ == 'SegTTAModel'


def rates(path):
    """Trained parameter -> (learning rate, weight decay)."""
    cfg = load(path)
    model = without_values(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups for p in group['params']
        if p.requires_grad
    }


def test_learning_rates_of_deeplab_v2():
    found = rates(ROOT / 'configs/segmentation/deeplabv2_r101_voc.py')
    for name, (lr, decay) in found.items():
        if not name.startswith('decode_head.'):
            assert (lr, decay) == (2.5e-4, 5e-4), name
            assert 'bn' not in name and 'downsample.1' not in name
        elif name.endswith('weight'):
            assert (lr, decay) == pytest.approx((2.5e-3, 5e-4)), name
        else:
            assert (lr, decay) == pytest.approx((5e-3, 0)), name
    assert sum(n.startswith('decode_head.') for n in found) == 8


def test_learning_rates_of_deeplab_v1():
    found = rates(ROOT / 'configs/segmentation/deeplabv1-largefov_r101_voc.py')
    head = {
        n: v
        for n, v in found.items() if n.startswith('decode_head.')
    }
    assert head.pop('decode_head.conv_seg.bias') == pytest.approx((0.02, 0))
    assert set(head) == {
        f'decode_head.{n}.weight'
        for n in ('context.conv', 'project.conv', 'conv_seg')
    }
    for value in head.values():
        assert value == pytest.approx((0.01, 5e-4))
    assert found['backbone.conv1.weight'] == (1e-3, 5e-4)


def test_learning_rates_of_segmenter():
    found = rates(ROOT / 'configs/weaktr/weaktr_segmenter_deit-small_voc.py')
    for name, value in found.items():
        own = 1e-4 if name.startswith('decode_head.') else 1e-5
        assert value == pytest.approx((own, 0)), name
    assert 'decode_head.cls_emb' in found and 'backbone.pos_embed' in found


@pytest.mark.parametrize('name', [
    'segmentation/deeplabv2_r18_voc-mini', 'segmentation/fcn_shapes',
    'weaktr/weaktr_segmenter_vit_shapes',
    'segmentation/segformer_small_shapes',
    'segmentation/mask2former_small_shapes'
])
def test_small_configs_step_and_predict(name, tmp_path):
    path = ROOT / f'configs/{name}.py'
    needs_mmdet(path)
    cfg = load(path)
    place_data(cfg, tmp_path)
    torch.manual_seed(0)
    enable_tta(cfg)
    tta = MODELS.build(cfg.model)
    tta.module.init_weights()
    model = tta.module.train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    data = pseudo_collate([dataset[0], dataset[1]])
    data = model.data_preprocessor(data, training=True)
    total, logs = model.parse_losses(model.loss(**data))
    total.backward()
    assert total.isfinite() and total > 0
    unused = [
        n for n, p in model.named_parameters()
        if p.requires_grad and p.grad is None
    ]
    assert not unused
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    data = pseudo_collate([dataset[0]])
    with torch.no_grad():
        result, = tta.eval().test_step(data)
    assert result.pred_sem_seg.data.shape == (1, *result.ori_shape)
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    metric.process(data, [result.to_dict()])
    assert 0 <= metric.evaluate(1)['mIoU'] <= 100


@pytest.mark.parametrize(
    'name', ['segformer_small_shapes', 'mask2former_small_shapes'])
def test_resumes_exactly(name, tmp_path):
    """Three steps are one step, a checkpoint, and two more."""
    needs_mmdet(ROOT / f'configs/segmentation/{name}.py')

    def run(first, last, file, save):
        cfg = small_models.load(f'segmentation/{name}')
        model = small_models.build(cfg, seed=first).train()
        optim = small_models.wrapper(cfg, model)
        if file.exists():
            state = torch.load(file, weights_only=True)
            model.load_state_dict(state['model'])
            optim.load_state_dict(state['optim'])
        for step in range(first, last):
            torch.manual_seed(step)
            model.train_step(
                small_models.batch_of(cfg, size=64, seed=step), optim)
        if save:
            torch.save(
                dict(model=model.state_dict(), optim=optim.state_dict()),
                file)
        return model.state_dict()

    whole = run(0, 3, tmp_path / 'none', False)
    run(0, 1, tmp_path / 'file', True)
    parts = run(1, 3, tmp_path / 'file', False)
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_learning_rates_of_transformers():
    found = rates(ROOT / 'configs/segmentation/segformer_mit-b2_voc.py')
    decays = {True: set(), False: set()}
    for name, (lr, decay) in found.items():
        head = name.startswith('decode_head.')
        assert lr == pytest.approx(6e-4 if head else 6e-5), name
        decays[head].add(decay)
    assert found['backbone.layers.0.2.weight'] == (6e-5, 0)
    assert decays[False] == {0, .01}
    pytest.importorskip('mmdet')
    found = rates(ROOT / 'configs/segmentation/mask2former_r50_voc.py')
    for name, (lr, decay) in found.items():
        assert lr == pytest.approx(
            1e-5 if name.startswith('backbone.') else 1e-4), name
    for name in ('query_embed', 'query_feat', 'level_embed'):
        assert found[f'decode_head.{name}.weight'][1] == 0
    assert found['decode_head.mask_embed.0.weight'][1] == .05
    assert found['decode_head.transformer_decoder.post_norm.weight'][1] == 0
