"""Every config can be built and keeps pixel labels out of training."""
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    TRANSFORMS,
    VISUALIZERS,
    init_default_scope,
)

from mmwsss import registry
from mmwsss.apis.pipeline import Pipeline
from mmwsss.apis.run import check_options, pretrained_paths
from mmwsss.datasets import ShapesDataset, write_image_labels
from mmwsss.pseudo_labels.mask_file import write_mask
from mmwsss.pseudo_labels.transforms.load_cams import LoadCAMs
from mmwsss.pseudo_labels.transforms.writers import Writer
from mmwsss.utils.read_images import read_image

from .small_models import without_values
from .test_datasets.builders import make_voc

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))
MASK_LOADERS = ('LoadAnnotations', 'LoadInstances', 'LoadMask',
                'LoadPanopticAnnotations')


def kind(path) -> str:
    """What a config is for."""
    cfg = Config.fromfile(path)
    for key, name in (('stages', 'pipeline'), ('refine_dataset', 'refine'),
                      ('discovery', 'discovery')):
        if key in cfg:
            return name
    if cfg.model.type == 'mmwsss.DiscoverySegmentor':
        return 'discovery'
    if cfg.model.type == 'mmwsss.AffinityRefiner':
        return 'affinity'
    if cfg.train_dataloader.dataset.type == 'mmwsss.PseudoMaskDataset':
        return 'segmentation'
    if cfg.model.type == 'mmwsss.AMN':
        return 'seed'
    classifies = cfg.model.type in ('mmwsss.CAMSegmentor',
                                    'mmwsss.EndToEndSegmentor')
    return 'cam' if classifies else 'walk'


KINDS = {path: kind(path) for path in CONFIGS}


def each(*kinds):
    """Parametrize over all configs of some kinds."""
    paths = [p for p in CONFIGS if KINDS[p] in kinds]
    return pytest.mark.parametrize(
        'path', paths, ids=[str(p.relative_to(ROOT)) for p in paths])


def test_there_are_configs():
    assert set(KINDS.values()) == {
        'cam', 'seed', 'walk', 'affinity', 'segmentation', 'refine',
        'pipeline', 'discovery'
    }
    assert ROOT / 'configs' / 'acr' / 'acr_vit_voc.py' in CONFIGS


def test_names_tell_the_kind():
    """As configs/README.md says."""
    for path, found in KINDS.items():
        refines = path.parent.name == 'refine' or (
            path.stem.startswith('refine_'))
        assert (found == 'refine') == refines, path
        assert (found == 'pipeline') == path.stem.startswith('pipeline_'), path
        discovers = path.parent.name == 'discovery'
        assert (found == 'discovery') == discovers, path


def dicts_in(value, where=''):
    """All dictionaries inside a config with their dotted keys."""
    if isinstance(value, dict):
        yield where, value
        for key, item in value.items():
            yield from dicts_in(item, f'{where}.{key}')
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from dicts_in(item, f'{where}.{i}')


def load(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


def our_names():
    found = set()
    for name in ('MODELS', 'DATASETS', 'DATA_SAMPLERS', 'TRANSFORMS',
                 'METRICS', 'HOOKS', 'INFERENCERS', 'OPTIM_WRAPPERS',
                 'OPTIM_WRAPPER_CONSTRUCTORS'):
        ours = getattr(registry, name)
        ours.import_from_location()
        found |= set(ours.module_dict)
    return found


@each('cam', 'seed', 'walk', 'affinity', 'segmentation', 'refine',
      'discovery')
def test_form(path):
    cfg = load(path)
    assert cfg.default_scope == 'mmseg'
    names = our_names()
    for where, value in dicts_in(cfg._cfg_dict.to_dict()):
        name = value.get('type')
        if isinstance(name, str) and name.startswith('mmwsss.'):
            assert name.split('.', 1)[1] in names, f'{where}: {name}'
    text = path.read_text()
    assert '::' not in text, 'bases of other packages depend on their name'
    for line in text.splitlines():
        assert not line.strip().strip('\'",').startswith('/'), line


@each('cam', 'seed', 'walk', 'segmentation')
def test_training_sees_no_masks(path):
    cfg = load(path)
    for where, value in dicts_in(cfg.train_dataloader.to_dict()):
        name = str(value.get('type')).split('.')[-1]
        # A PseudoMaskDataset names pseudo masks only.
        assert name not in MASK_LOADERS or KINDS[path] == 'segmentation', (
            f'train_dataloader{where}: {name}')
        assert not value.get('with_masks'), f'train_dataloader{where}'
    if cfg.val_dataloader is not None:
        assert cfg.val_dataloader.dataset.with_masks
    assert cfg.test_dataloader.dataset.with_masks
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for step in (cfg[key] or cfg.test_dataloader).dataset.pipeline:
            TRANSFORMS.build(step)


@each('refine')
def test_refinement_sees_no_masks(path):
    cfg = load(path)
    for where, value in dicts_in(cfg.refine_dataset.to_dict()):
        name = str(value.get('type')).split('.')[-1]
        assert name not in MASK_LOADERS, f'refine_dataset{where}: {name}'
        assert not value.get('with_masks'), f'refine_dataset{where}'
    steps = [TRANSFORMS.build(step) for step in cfg.refine_dataset.pipeline]
    assert isinstance(steps[-1], Writer)
    assert any(isinstance(step, LoadCAMs) for step in steps)


@each('pipeline')
def test_pipeline_fits_together(path, monkeypatch):
    """Its commands name tools, options and configs that exist."""
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(path)
    pipeline = Pipeline(cfg, Path('never-made'))
    # CAMs that were made elsewhere are named, all else is made here.
    made = ('never-made', *filter(None, [cfg.variables.get('cam_folder')]))
    rows = [row for stage in pipeline.stages for row in stage.rows]
    assert len(rows) == len(set(rows)) and rows
    for stage in pipeline.stages:
        for command in filter(None, [*stage.commands, stage.score]):
            tool, *arguments = shlex.split(command)
            args = runpy.run_path(tool)['parse_args'](arguments)
            config = Config.fromfile(args.config)
            if getattr(args, 'cfg_options', None):
                check_options(config, args.cfg_options)
                for option in args.cfg_options:
                    # A field that no config sets is read by nobody.
                    parent, _, leaf = option.rpartition('.')
                    node = config
                    for part in parent.split('.'):
                        node = node[int(part) if part.isdigit() else part]
                    assert leaf in node, option
    for section in cfg.gallery.values():
        assert Path(pipeline.fill(section['config'], '')).is_file()
        for column in section['columns'].values():
            assert pipeline.fill(column, '').startswith(made)


@each('segmentation')
def test_segmentation_learns_from_pseudo_masks(path, tmp_path):
    cfg = load(path)
    data = cfg.train_dataloader.dataset.copy()
    inner = data.dataset
    if issubclass(DATASETS.get(inner.type), ShapesDataset):
        inner.update(num_train=3, num_val=1, image_size=48)
    else:
        make_voc(tmp_path, {'x': [0, 1], 'y': []}, size=(40, 50))
        write_image_labels(
            tmp_path / 'labels.json',
            DATASETS.get(inner.type).METAINFO.get(
                'classes', ('background', 'cat', 'dog'))[1:], {
                'x': [0, 1],
                'y': []
            })
        inner.update(
            ann_file='ImageSets/Segmentation/train.txt',
            labels_file='labels.json',
            data_prefix=dict(
                img_path='JPEGImages', seg_map_path='SegmentationClass'))
    inner.update(data_root=str(tmp_path))
    images = DATASETS.build(dict(inner, pipeline=[]))
    for i in range(len(images)):
        img_id = images.get_data_info(i)['img_id']
        size = read_image(images.get_data_info(i)['img_path'], '').shape[:2]
        write_mask(tmp_path / 'pseudo', img_id, np.full(size, i, np.uint8))
    dataset = DATASETS.build(dict(data, mask_dir=str(tmp_path / 'pseudo')))
    for i in range(len(dataset)):
        assert Path(dataset.get_data_info(i)['seg_map_path']).parent == (
            tmp_path / 'pseudo')
        sample = dataset[i]['data_samples']
        # What it shows is the pseudo mask, whatever the true one says.
        assert set(sample.gt_sem_seg.data.unique().tolist()) <= {i, 255}


@each('cam')
def test_training_data_set_hands_out_no_masks(path, tmp_path):
    cfg = load(path)
    data = cfg.train_dataloader.dataset.copy()
    cls = DATASETS.get(data.type)
    if issubclass(cls, ShapesDataset):
        data.update(num_train=3, num_val=1, image_size=48)
    else:
        # Masks lie there, ready to be read.
        make_voc(tmp_path, {'x': [0, 1], 'y': []}, size=(40, 50))
        # Without classes of its own a data set takes those of the file.
        names = cls.METAINFO.get('classes', ('background', 'cat', 'dog'))
        write_image_labels(tmp_path / 'labels.json', names[1:],
                           {'x': [0, 1], 'y': []})
        data.update(
            ann_file='ImageSets/Segmentation/train.txt',
            labels_file='labels.json',
            # COCO's images lie elsewhere.
            data_prefix=dict(
                img_path='JPEGImages', seg_map_path='SegmentationClass'))
        if cfg.train_dataloader.dataset.get('data_prefix'):
            data.data_prefix['saliency_path'] = 'Saliency'
        if data.get('saliency_dir'):
            data.saliency_dir = str(tmp_path / 'Saliency')
        if data.get('saliency_dir') or 'saliency_path' in data.data_prefix:
            for img_id in 'xy':
                write_mask(tmp_path / 'Saliency', img_id,
                           np.ones((40, 50), np.uint8))
    data.update(data_root=str(tmp_path))
    dataset = DATASETS.build(data)
    assert len(dataset) > 1
    for i in range(len(dataset)):
        assert 'seg_map_path' not in dataset.get_data_info(i)
        sample = dataset[i]['data_samples']
        assert 'gt_sem_seg' not in sample
        assert 'gt_label' in sample and 'img_id' in sample


@each('seed')
def test_seed_networks_read_seeds(path, tmp_path):
    """Pseudo masks in training; beside the true ones in a test."""
    cfg = load(path)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        data = cfg[key].dataset.copy()
        assert 'mask_dir' in data  # Where pipelines say.
        data.mask_dir = str(tmp_path / 'seeds')
        cls = DATASETS.get(data.type)
        if issubclass(cls, ShapesDataset):
            assert data.ann_file.endswith('/train.txt')
            data.update(num_train=3, num_val=1, image_size=48)
        else:
            make_voc(tmp_path, {'x': [0, 1], 'y': []}, size=(40, 50))
            write_image_labels(
                tmp_path / 'labels.json', cls.METAINFO['classes'][1:], {
                    'x': [0, 1],
                    'y': []
                })
            data.update(
                ann_file='ImageSets/Segmentation/train.txt',
                labels_file='labels.json',
                data_prefix=dict(
                    img_path='JPEGImages', seg_map_path='SegmentationClass'))
        data.update(data_root=str(tmp_path))
        images = DATASETS.build(dict(data, pipeline=[]))
        for i in range(len(images)):
            info = images.get_data_info(i)
            size = read_image(info['img_path'], '').shape[:2]
            write_mask(tmp_path / 'seeds', info['img_id'],
                       np.full(size, i + 1, np.uint8))
        dataset = DATASETS.build(data)
        assert len(dataset) > 1
        for i in range(len(dataset)):
            sample = dataset[i]['data_samples']
            training = key == 'train_dataloader'
            assert ('seg_map_path' in dataset.get_data_info(i)) != training
            seeds = sample.gt_sem_seg if training else sample.seed_sem_seg
            values = set(seeds.data.unique().tolist())
            assert i + 1 in values and values <= {i + 1, 255}
            if training:
                assert 'seed_sem_seg' not in sample
            else:
                assert seeds.data.shape[1:] == sample.ori_shape
                assert not torch.equal(seeds.data, sample.gt_sem_seg.data)


def needs_mmdet(path):
    """Skip what cannot be built without it."""
    if 'mask2former' in path.stem:
        pytest.importorskip('mmdet')


@each('cam', 'seed', 'walk', 'segmentation')
def test_model_builds(path):
    needs_mmdet(path)
    cfg = load(path)
    for where, _ in pretrained_paths(cfg.model):
        # The weights are not here.
        cfg.merge_from_dict({where: None})
    model = without_values(cfg.model)
    assert sum(p.numel() for p in model.parameters()) > 1000
    # Batch norm that follows the batch would differ between processes.
    following = [
        name for name, module in model.train().named_modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
        and module.training
        and not isinstance(module, torch.nn.SyncBatchNorm)
    ]
    assert not following or cfg.get('sync_bn') == 'torch', following
    data = cfg.train_dataloader.dataset
    classes = DATASETS.get(data.get('dataset', data).type).METAINFO.get(
        'classes')
    # Walks compare pixels, they know no classes; and those of anybody's
    # images are not known here.
    if KINDS[path] != 'walk' and classes is not None:
        model_cfg = cfg.model.get('segmentor', cfg.model)
        head = model_cfg.get('cls_head') or model_cfg.decode_head
        assert head.num_classes == (
            len(classes) - (KINDS[path] in ('cam', 'seed')))
    if cfg.get('tta_model'):
        tta = dict(cfg.tta_model, module=cfg.model)
        without_values(tta)


@each('affinity')
def test_stages_without_training(path):
    cfg = load(path)
    # Frozen networks need their weights when they are used, not before.
    model = MODELS.build(cfg.model)
    assert model.training_free and not list(model.parameters())
    for key in ('train_cfg', 'optim_wrapper'):
        assert cfg.get(key) is None
    data = cfg.test_dataloader.dataset
    assert data.with_masks
    assert any(s.type == 'mmwsss.LoadCAMs' for s in data.pipeline)
    assert 'cam_dir' in data  # Where pipelines say.
    for step in data.pipeline:
        TRANSFORMS.build(step)
    VISUALIZERS.build(cfg.visualizer)
    for hook in [*cfg.default_hooks.values(), *cfg.custom_hooks]:
        HOOKS.build(hook)
    METRICS.build(cfg.test_evaluator)


@each('discovery')
def test_discovery_builds(path):
    cfg = load(path)
    trained = 'model' in cfg
    # Its network needs its weights when it is used, not before.
    if trained:
        model = MODELS.build(cfg.model)
        teacher, discovery = model.teacher, model.discovery
        settings = cfg.model.discovery
        assert [n for n, _ in model.named_parameters()] == [
            'discovery.finder.conv.weight', 'discovery.finder.conv.bias']
        processor = cfg.model.data_preprocessor
        assert processor.mean == [0, 0, 0] and processor.std == [1, 1, 1]
        assert processor.bgr_to_rgb
    else:
        settings = cfg.discovery
        discovery = MODELS.build(
            dict(settings, type='mmwsss.ObjectDiscovery'))
        teacher = discovery.finder
        assert not list(discovery.parameters())
    data = cfg.train_dataloader.dataset
    assert 'saliency_path' not in (data.get('data_prefix') or {})
    assert 'saliency_dir' not in data and not data.get('with_masks')
    for step in data.pipeline:
        TRANSFORMS.build(step)
        assert step.type.split('.')[-1] not in MASK_LOADERS
    if trained or type(teacher).__name__ == 'BackgroundDiscovery':
        # The last block shows its attention only if it runs.
        backbone = MODELS.build(
            dict(settings.network.backbone, init_cfg=None))
        assert max(backbone.out_indices) == len(backbone.layers) - 1
    if trained:
        assert discovery.finder.conv.in_channels == backbone.embed_dims


def frozen_networks(value):
    """Arguments of every FrozenBackbone inside a config."""
    for _, part in dicts_in(value):
        if isinstance(part.get('backbone'), dict) and 'channels' in part and (
                'type' not in part):
            yield part


def test_frozen_networks_of_configs():
    found = {}
    for path in CONFIGS:
        if KINDS[path] in ('refine', 'pipeline'):
            continue
        cfg = Config.fromfile(path)
        model = (cfg.get('model') or cfg.discovery).to_dict()
        for network in frozen_networks(model):
            folder = network.get('cache_dir')
            weights = network['backbone']['init_cfg']['checkpoint']
            # One folder holds features of one network and one input rule.
            rule = {
                k: v
                for k, v in network.items()
                if k not in ('cache_dir', 'channels', 'out_index')
            }
            if folder is not None:
                assert found.setdefault(folder, rule) == rule, (path, folder)
            assert weights.startswith('checkpoints/'), path
        parts = [
            part for _, part in dicts_in(model)
            if part.get('type') == 'mmwsss.FrozenFeatures'
        ]
        for part in parts:
            channels = sum(n['channels'] for n in part['networks'])
            inner = model.get('segmentor', model)
            head = inner.get('cls_head') or inner['decode_head']
            assert head['in_channels'] == channels, path
            processor = model['data_preprocessor']
            assert processor['mean'] == [0, 0, 0], path
            assert processor['std'] == [1, 1, 1] and processor['bgr_to_rgb']
    assert len(found) >= 3


@each(*set(KINDS.values()))
def test_readme_names_it(path):
    assert path.stem in (path.parent / 'README.md').read_text()


@each('cam', 'seed', 'walk', 'affinity', 'segmentation', 'discovery')
def test_metafile_lists_it(path):
    folder = Path(path).resolve().parent
    meta = yaml.safe_load((folder / 'metafile.yml').read_text())
    names = [model['Name'] for model in meta['Models']]
    assert names.count(Path(path).stem) == 1
    for model in meta['Models']:
        assert (ROOT / model['Config']).is_file()
        for result in model['Results']:
            assert result['Dataset'] and result['Metrics']
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert f'configs/{folder.name}/metafile.yml' in index['Import']


@each('cam', 'seed', 'walk', 'segmentation')
def test_rest_builds(path):
    cfg = load(path)
    # As the runner does: hooks ask for the visualizer by its name.
    VISUALIZERS.build(cfg.visualizer)
    for hook in [
            *cfg.get('default_hooks', {}).values(),
            *cfg.get('custom_hooks', [])
    ]:
        HOOKS.build(hook)
    assert cfg.default_hooks.checkpoint.type == 'mmwsss.AtomicCheckpointHook'
    for key in ('val_evaluator', 'test_evaluator'):
        evaluators = cfg[key] or cfg.test_evaluator
        for evaluator in (evaluators
                          if isinstance(evaluators, list) else [evaluators]):
            METRICS.build(evaluator)
    assert DATA_SAMPLERS.get(cfg.train_dataloader.sampler.type) is not None
    # By epochs or by iterations, augmentation must be the draw's.
    by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.train_dataloader.sampler.type == (
        'mmwsss.SeededSampler'
        if by_epoch else 'mmwsss.InfiniteSeededSampler')
    # A run without a seed cannot be repeated.
    assert cfg.randomness.seed is not None
