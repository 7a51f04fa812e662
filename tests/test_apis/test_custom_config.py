"""Configs of this repository, turned to images of somebody else."""
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmwsss.apis.custom_config import (
    check_config,
    config_path,
    config_text,
    configs_for,
    custom_config,
)
from mmwsss.apis.pipeline import Pipeline
from mmwsss.apis.run import pretrained_paths
from mmwsss.datasets.custom import read_custom, write_custom
from mmwsss.utils.read_images import read_mask
from mmwsss.utils.stage_folder import STAGE_FOLDERS

from ..test_tools import ROOT, environment

CONFIGS = ROOT / 'configs'
TOOL = ROOT / 'tools/dataset_converters/custom.py'
# One of each kind, with classes in all places where there are some.
KINDS = ('acr/acr_vit_voc', 'affinity/affinitynet_resnet38_voc',
         'cam/cam_mobilenet-v2_voc-mini', 'cam/cam_r50_custom',
         'cosa/cosa_vit_shapes', 'fbr/amn_r50_voc', 'fbr/fbr_cam_r18_shapes',
         'getam/getam_no-saliency_vit_shapes',
         'mctformer/mctformer-plus_vit_shapes', 'refine/crf-masks_voc',
         'segmentation/deeplabv2_r101_voc', 'segmentation/emanet_r101_voc',
         'vwl/vwl-m_r101_coco', 'weaktr/weaktr_deit-small_coco')
TAGS = {'a 1.jpg': 'dog', 's/b.PNG': 'cat;dog', 'c.jpeg': '', 'd.jpg': 'cow',
        'e.jpg': 'cat'}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'my photos'
    for i, name in enumerate(TAGS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(path.suffix.lower(), np.full(
            (40, 50, 3), 40 * i, np.uint8))
        path.write_bytes(data.tobytes())
    (folder / 'tags.csv').write_text('image,tags\n' + ''.join(
        f'{name},{tags}\n' for name, tags in TAGS.items()))
    return folder


@pytest.fixture
def data(photos, tmp_path):
    data = read_custom(photos / 'tags.csv', val=0.2)
    write_custom(data, tmp_path / 'mine')
    return data


def make(base, data, tmp_path, **kwargs) -> Config:
    changes = custom_config(CONFIGS / base, tmp_path / 'mine', data.images,
                            len(data.classes), **kwargs)
    path = config_path(tmp_path / 'mine', base, first=True)
    path.write_text(config_text(CONFIGS / base, changes))
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


def all_values(node, key):
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from all_values(value, key)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from all_values(value, key)


@pytest.mark.parametrize('base', KINDS)
def test_data_and_class_numbers(base, data, tmp_path):
    cfg = make(f'{base}.py', data, tmp_path)
    old = Config.fromfile(CONFIGS / f'{base}.py')
    keys = [k for k in ('refine_dataset', 'train_dataloader',
                        'val_dataloader', 'test_dataloader')
            if old.get(k) is not None]
    for key in keys:
        dataset, before = cfg[key].get('dataset', cfg[key]), old[key].get(
            'dataset', old[key])
        # Pipelines and samplers are those of the base.
        assert dataset.pipeline == before.pipeline
        assert cfg[key].get('sampler') == old[key].get('sampler')
        if 'dataset' in dataset:
            assert dataset.mask_dir == 'work_dirs/mine/masks'
        dataset = dataset.get('dataset', dataset)
        for field in STAGE_FOLDERS:  # Nothing of the base's images.
            assert (dataset.get(field) or 'work_dirs/mine/').startswith(
                'work_dirs/mine/')
        built = DATASETS.build(dict(dataset, pipeline=[]))
        assert built.classes == ('cat', 'cow', 'dog')
        training = key in ('refine_dataset', 'train_dataloader')
        # Seeds and CAMs are made of training images only.
        continues = base.startswith(('affinity/', 'fbr/amn'))
        assert len(built) == (4 if training or continues else 1)
        assert built.with_masks is False
        assert dataset.get('with_masks', False) == (
            False if training else 'auto')
    if 'model' not in cfg:
        return
    counts = list(all_values(cfg.model, 'num_classes'))
    assert len(counts) == len(list(all_values(old.model, 'num_classes')))
    assert set(counts) <= {3, 4}
    # One token per class.
    assert set(all_values(cfg.model, 'num_class_tokens')) <= {3}
    for evaluator in (cfg.get('val_evaluator'), cfg.get('test_evaluator')):
        assert not any(all_values(evaluator, 'report_classes'))
    method = Path(base).name.rpartition('_')[0]
    assert cfg.work_dir == f'work_dirs/mine/{method}'
    for where, _ in pretrained_paths(cfg.model):
        cfg.merge_from_dict({where: None})
    with torch.device('meta'):
        MODELS.build(cfg.model)


@pytest.mark.parametrize('base,count', [
    ('cam_lite2_custom', 3), ('linear_lite2-vit-tiny_custom', 4),
    ('linear_lite2-dinov2-small_custom', 4)])
def test_background_counts_where_masks_are_learnt(base, count, tmp_path):
    """Data sets without classes of their own do not tell the number."""
    changes = custom_config(CONFIGS / 'frozen' / f'{base}.py', tmp_path,
                            tmp_path, 3)
    assert list(all_values(changes['model'], 'num_classes')) == [count]


def test_parts_keep_what_does_not_change(data, tmp_path):
    base = 'fbr/fbr_cam_r18_shapes.py'
    cfg = make(base, data, tmp_path)
    old = Config.fromfile(CONFIGS / base)
    assert cfg.model.regularizers.fbr.num_classes != 6
    cfg.model.regularizers.fbr.num_classes = 6
    assert cfg.model.regularizers == old.model.regularizers


@pytest.mark.parametrize('base', ['r50_voc', 'r50_coco', 'small_shapes'])
def test_weights_of_classes(base, data, tmp_path):
    """Those of Mask2Former: of all classes, and of no object."""
    cfg = make(f'segmentation/mask2former_{base}.py', data, tmp_path)
    assert cfg.model.decode_head.num_classes == 4
    assert cfg.model.decode_head.loss_cls.class_weight == [1.] * 4 + [0.1]


def test_weights_of_classes_that_differ(data, tmp_path):
    base = tmp_path / 'weighted.py'
    base.write_text(
        f'_base_ = {str(CONFIGS / "segmentation/fcn_shapes.py")!r}\n'
        'model = dict(decode_head=dict(loss_decode=dict(_delete_=True,\n'
        "    type='CrossEntropyLoss', class_weight=[0.5] + 6 * [2.])))")
    cfg = make(base, data, tmp_path)
    assert cfg.model.decode_head.loss_decode.class_weight == [0.5, 2, 2, 2]
    base.write_text(base.read_text().replace('6 * [2.]', '[2., 3.] * 3'))
    with pytest.raises(ValueError, match='class_weight=.*all classes weigh'):
        make(base, data, tmp_path)


@pytest.mark.parametrize('base, key, value', [
    ('cam/cam_r50_custom', 'max_pixels', 2048**2),
    ('cam/cam_mobilenet-v2_voc-mini', 'max_pixels', 2048**2),
    ('acr/acr_vit_voc', 'max_pixels', 1024**2),
    ('cosa/cosa_vit_voc', 'max_pixels', 1024**2),
    ('segmentation/deeplabv2_r101_voc', 'crop_size', (1024, 1024)),
    ('segmentation/emanet_r101_voc', 'mode', 'slide'),
    ('fbr/amn_r50_voc', 'max_pixels', None),
    ('affinity/affinitynet_resnet38_voc', 'test_cfg', None),
])
def test_large_pictures_are_looked_at_in_parts(base, key, value, data,
                                               tmp_path):
    """Photos of cameras and phones do not fit into memory as a whole."""
    cfg = make(f'{base}.py', data, tmp_path)
    old = Config.fromfile(CONFIGS / f'{base}.py').model.get('test_cfg') or {}
    new = cfg.model.get('test_cfg') or {}
    assert new.get(key) == value
    assert {k: v for k, v in new.items() if k in old and k != 'mode'} == {
        k: v for k, v in old.items() if k != 'mode'}


def test_saliency_must_be_there(data, tmp_path):
    base = 'getam/getam_vit_voc.py'
    with pytest.raises(ValueError, match='learns from saliency.*--saliency'):
        make(base, data, tmp_path)
    cfg = make(base, data, tmp_path, saliency=tmp_path / 'maps')
    assert cfg.train_dataloader.dataset.data_prefix == dict(
        img_path=str(data.images), seg_map_path='SegmentationClass',
        saliency_path=str(tmp_path / 'maps'))
    # Of maps that another command writes, likewise.
    base = 'fbr/eps-ppc_mobilenet-v2_voc-mini.py'
    with pytest.raises(ValueError, match='learns from saliency.*--saliency'):
        make(base, data, tmp_path)
    dataset = make(
        base, data, tmp_path,
        saliency=tmp_path / 'maps').train_dataloader.dataset
    assert dataset.saliency_dir is None
    assert dataset.data_prefix.saliency_path == str(tmp_path / 'maps')


def test_without_validation_images(data, tmp_path):
    cfg = make('cam/cam_r18_shapes.py', data, tmp_path, has_val=False)
    assert cfg.val_dataloader.dataset.ann_file == 'train.txt'
    cfg = make('cam/cam_r18_shapes.py', data, tmp_path, masks='/m')
    assert cfg.val_dataloader.dataset.data_prefix.seg_map_path == '/m'


def test_configs_of_other_kinds(data, tmp_path):
    with pytest.raises(ValueError, match='neither trains a model nor'):
        make('cam/pipeline_shapes.py', data, tmp_path)
    with pytest.raises(FileNotFoundError, match='no config .*nothing.py'):
        make('cam/nothing.py', data, tmp_path)


def test_pipeline(data, tmp_path):
    out = tmp_path / 'mine'
    texts = configs_for(['configs/acr/pipeline_irn_voc-mini.py'], out,
                        images=data.images, num_classes=3)
    old = Config.fromfile(CONFIGS / 'acr/pipeline_irn_voc-mini.py')
    for path, text in texts.items():
        path.write_text(text)
    assert next(iter(texts)).name == 'pipeline.py'
    cfg = Config.fromfile(out / 'pipeline.py')
    assert cfg.stages == old.stages
    assert cfg.variables.classifier == str(out / 'acr_deit-tiny.py')
    assert cfg.variables.scored_on == (
        f'{out / "acr_deit-tiny.py"} --train-images')
    assert (cfg.variables.metric, cfg.variables.mask_options) == ('mIoU', '')
    named = {str(v).split()[0] for v in cfg.variables.values() if str(v)}
    assert {str(p) for p in texts} - named == {str(out / 'pipeline.py')}
    pipeline = Pipeline(cfg, tmp_path / 'run', scores=False)
    assert [s.name for s in pipeline.stages][:2] == ['classify', 'cams']
    for command in [c for s in pipeline.stages for c in s.commands]:
        assert 'configs/' not in command
    with pytest.raises(ValueError, match='a folder without blanks'):
        configs_for(['configs/cam/pipeline_voc.py'], tmp_path / 'a b',
                    images=data.images, num_classes=3)
    with pytest.raises(ValueError, match='would both become .*cam_r50.py'):
        configs_for([
            'configs/acr/acr_vit_voc.py', 'configs/cam/cam_r50_voc.py',
            'configs/cam/cam_r50_shapes.py'
        ], out, images=data.images, num_classes=3)


def test_edited_configs_stay(tmp_path):
    path = tmp_path / 'config.py'
    check_config(path, 'x = 1\n')
    path.write_text('x = 1\n')
    check_config(path, 'x = 1\n')
    with pytest.raises(FileExistsError, match='--overwrite'):
        check_config(path, 'x = 2\n')


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', str(TOOL), *map(str, arguments)],
        cwd=cwd, env=environment(), capture_output=True, text=True)


@pytest.mark.slow
def test_tool(photos, tmp_path):
    arguments = ('my photos/tags.csv', 'mine', '--base',
                 CONFIGS / 'cam/cam_r18_shapes.py',
                 'configs/refine/crf-masks_voc.py')
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / 'mine'
    assert sorted(p.name for p in out.iterdir()) == [
        'config.py', 'crf-masks.py', 'image_labels.json', 'train.txt',
        'val.txt']
    rows = dict(line.rsplit(None, 2)[:1] + [line.split()[-2:]]
                for line in done.stdout.splitlines()
                if line.split()[-1:] and line.split()[-1].isdigit())
    assert rows['images'] == ['4', '1']
    assert {name: sum(map(int, n)) for name, n in rows.items()} == {
        'cat': 2, 'cow': 1, 'dog': 2, 'without tag': 1, 'images': 5}
    assert 'next: python tools/train.py mine/config.py' in done.stdout
    cfg = Config.fromfile(out / 'config.py')
    assert Path(cfg.train_dataloader.dataset.data_root).samefile(out)

    assert 'note: ' not in done.stdout

    # An edited config stops everything before a file is touched.
    (out / 'config.py').write_text('mine = 1\n')
    labels = (out / 'image_labels.json').stat().st_mtime_ns
    done = run(*arguments, '--classes', 'dog', 'cat', cwd=tmp_path)
    assert done.returncode == 1 and '--overwrite' in done.stderr
    assert 'Traceback' not in done.stderr
    assert (out / 'config.py').read_text() == 'mine = 1\n'
    assert (out / 'image_labels.json').stat().st_mtime_ns == labels


@pytest.mark.slow
def test_tool_translates_masks(photos, tmp_path):
    """What was translated is what a config measures with."""
    for i, name in enumerate(TAGS):
        image = np.zeros((40, 50), np.uint8)
        image[:20] = 255 * (i in (1, 4))  # the cats
        path = (tmp_path / 'gt' / name).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    done = run('my photos/tags.csv', 'mine', '--masks', 'gt', '--classes',
               'cat', '--mask-values', '255=cat', '--window', '0', '4095',
               '--base', CONFIGS / 'cam/cam_r18_shapes.py', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cfg = Config.fromfile(tmp_path / 'mine/config.py')
    init_default_scope('mmseg')
    for key in ('val_dataloader', 'test_dataloader'):
        dataset = DATASETS.build(dict(cfg[key].dataset, pipeline=[],
                                      ann_file='train.txt'))
        assert dataset.with_masks is True
        assert dataset.get_data_info(0)['window'] == (0, 4095)
        shown = {Path(i['img_id']).name: set(np.unique(read_mask(
            i['seg_map_path'], i['img_id']))) for i in map(
                dataset.get_data_info, range(len(dataset)))}
        assert len(shown) == 4 and all(
            values == ({0, 1} if name in 'be' else {0})
            for name, values in shown.items())
    # With other classes these masks mean something else.
    done = run('my photos/tags.csv', 'mine', '--classes', 'dog', '--base',
               CONFIGS / 'cam/cam_r18_shapes.py', '--overwrite',
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cfg = Config.fromfile(tmp_path / 'mine/config.py')
    with pytest.raises(ValueError, match='(?s)made for other classes.*of the '
                       'files +cat.*of the data +dog'):
        DATASETS.build(dict(cfg.val_dataloader.dataset, pipeline=[]))


def test_tool_notes_what_to_do_first(photos, tmp_path):
    (tmp_path / 'detected').mkdir()
    done = run('my photos/tags.csv', 'mine', '--saliency', 'detected',
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ('note: checkpoints/dinov2_vits14.pth is not there yet'
            in done.stdout)
    assert '--saliency was not used' in done.stdout
