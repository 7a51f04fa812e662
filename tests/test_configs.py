"""Every config can be built and keeps pixel labels out of training."""
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import (DATA_SAMPLERS, DATASETS, HOOKS, METRICS,
                               MODELS, TRANSFORMS, VISUALIZERS,
                               init_default_scope)

from mmwsss import registry
from mmwsss.apis.run import pretrained_paths
from mmwsss.datasets import ShapesDataset, write_image_labels

from .test_datasets.builders import make_voc

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))
MASK_LOADERS = ('LoadAnnotations', 'LoadMask', 'LoadPanopticAnnotations')

every_config = pytest.mark.parametrize(
    'path', CONFIGS, ids=[str(p.relative_to(ROOT)) for p in CONFIGS])


def test_there_are_configs():
    assert CONFIGS
    assert ROOT / 'configs' / 'acr' / 'acr_vit_voc.py' in CONFIGS


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
                 'METRICS', 'HOOKS', 'VISUALIZERS'):
        ours = getattr(registry, name)
        ours.import_from_location()
        found |= set(ours.module_dict)
    return found


@every_config
def test_form(path):
    cfg = load(path)
    assert cfg.default_scope == 'mmseg'
    names = our_names()
    for where, value in dicts_in(cfg._cfg_dict.to_dict()):
        kind = value.get('type')
        if isinstance(kind, str):
            assert kind not in names, (
                f"{where}.type must be written 'mmwsss.{kind}'")
            if kind.startswith('mmwsss.'):
                assert kind.split('.', 1)[1] in names, f'{where}: {kind}'
    text = path.read_text()
    assert '::' not in text, 'bases of other packages depend on their name'
    for line in text.splitlines():
        assert not line.strip().strip('\'",').startswith('/'), line


@every_config
def test_training_sees_no_masks(path):
    cfg = load(path)
    for where, value in dicts_in(cfg.train_dataloader.to_dict()):
        kind = str(value.get('type')).split('.')[-1]
        assert kind not in MASK_LOADERS, f'train_dataloader{where}: {kind}'
        assert not value.get('with_masks'), f'train_dataloader{where}'
    assert cfg.val_dataloader.dataset.with_masks
    assert cfg.test_dataloader.dataset.with_masks
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for step in cfg[key].dataset.pipeline:
            TRANSFORMS.build(step)


@every_config
def test_training_data_set_hands_out_no_masks(path, tmp_path):
    cfg = load(path)
    data = cfg.train_dataloader.dataset.copy()
    cls = DATASETS.get(data.type)
    if issubclass(cls, ShapesDataset):
        data.update(num_train=3, num_val=1, image_size=48)
    else:
        # Masks lie there, ready to be read.
        make_voc(tmp_path, {'x': [0, 1], 'y': []}, size=(40, 50))
        write_image_labels(tmp_path / 'labels.json', cls.METAINFO['classes'][
            1:], {'x': [0, 1], 'y': []})
        data.update(
            ann_file='ImageSets/Segmentation/train.txt',
            labels_file='labels.json')
    data.update(data_root=str(tmp_path))
    dataset = DATASETS.build(data)
    assert len(dataset) > 1
    for i in range(len(dataset)):
        assert 'seg_map_path' not in dataset.get_data_info(i)
        sample = dataset[i]['data_samples']
        assert 'gt_sem_seg' not in sample
        assert 'gt_label' in sample and 'img_id' in sample


@every_config
def test_model_builds(path):
    cfg = load(path)
    for where, _ in pretrained_paths(cfg.model):
        # The weights are not here.
        cfg.merge_from_dict({where: None})
    with torch.device('meta'):  # No memory, no initialisation.
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) > 1000
    classes = DATASETS.get(
        cfg.train_dataloader.dataset.type).METAINFO['classes']
    assert cfg.model.decode_head.num_classes == len(classes) - 1


@every_config
def test_folder_tells_about_it(path):
    folder = Path(path).resolve().parent
    assert (folder / 'README.md').is_file()
    meta = yaml.safe_load((folder / 'metafile.yml').read_text())
    names = [model['Name'] for model in meta['Models']]
    assert names.count(Path(path).stem) == 1
    for model in meta['Models']:
        assert (ROOT / model['Config']).is_file()
        for result in model['Results']:
            assert result['Dataset'] and result['Metrics']
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert f'configs/{folder.name}/metafile.yml' in index['Import']


@every_config
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
        METRICS.build(cfg[key])
    assert DATA_SAMPLERS.get(cfg.train_dataloader.sampler.type) is not None
    # By epochs or by iterations, augmentation must be the draw's.
    by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.train_dataloader.sampler.type == (
        'mmwsss.SeededSampler'
        if by_epoch else 'mmwsss.InfiniteSeededSampler')
    # A run without a seed cannot be repeated.
    assert cfg.randomness.seed is not None
