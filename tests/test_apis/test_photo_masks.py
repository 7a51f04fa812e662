"""From photographs and tags to masks and a model, with tiny networks."""
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmwsss.apis import photo_masks as module
from mmwsss.apis.cam_inferencer import CAMInferencer
from mmwsss.apis.photo_masks import masks_from_tags
from mmwsss.apis.pipeline import StageError
from mmwsss.utils.read_images import read_mask

from ..test_models.frozen_builders import vit_network
from ..toy import ROOT

TINY = 'configs/tiny/pipeline_tiny_custom.py'
CLASSES = ('disc', 'square')
LOADER = dict(num_workers=0, persistent_workers=False)
SCHEDULE = """
train_cfg = dict(max_iters={steps}, val_interval={steps})
param_scheduler = [
    dict(type='PolyLR', power=1., begin=0, end={steps}, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=2))
train_dataloader = dict(batch_size=4, **{loader})
val_dataloader = {loader}
test_dataloader = {loader}
"""


def photograph(labels, seed, size=(40, 56)):
    """A noisy picture with a red disc, a blue square, both or neither."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 160, (*size, 3), dtype=np.uint8)
    if 'disc' in labels:
        cv2.circle(image, (16, 20), 9, (20, 20, 230), -1)
    if 'square' in labels:
        cv2.rectangle(image, (32, 10), (50, 28), (230, 20, 20), -1)
    return image


def make_photos(folder, labels):
    """Photographs ``name -> labels`` and ``tags.csv`` beside them."""
    folder.mkdir()
    lines = ['image,tags']
    for seed, (name, tags) in enumerate(labels.items()):
        cv2.imwrite(str(folder / name), photograph(tags, seed))
        lines.append(f'{name},{";".join(tags)}')
    (folder / 'tags.csv').write_text('\n'.join(lines) + '\n')
    return folder / 'tags.csv'


def some(count=4):
    """Labels of ``count`` photographs, of every kind."""
    kinds = (['disc'], ['square'], CLASSES, [])
    return {f'p{i}.png': list(kinds[i % 4]) for i in range(count)}


def write_tiny(folder, steps=6):
    """Configs that inherit the real ones, with networks of two blocks."""
    first, second = (vit_network(folder, seed, long_side=32)
                     for seed in (0, 1))
    loader = SCHEDULE.format(steps=steps, loader=LOADER)
    texts = dict(
        cam_tiny_custom=('cam_lite2_custom', f'''
model = dict(
    backbone=dict(networks=[{first}]), cls_head=dict(in_channels=12))
{loader}'''),
        affinity_tiny_custom=('affinity_vit-tiny_custom', f'''
model = dict(affinity=dict(network=dict(_delete_=True, **{second})))
test_dataloader = {LOADER}
'''),
        linear_tiny_custom=('linear_lite2-vit-tiny_custom', f'''
model = dict(
    segmentor=dict(
        backbone=dict(networks=[{first}, {second}]),
        decode_head=dict(in_channels=24, channels=24)),
    refiners=[
        dict(type='mmwsss.FrozenAffinity', network={second}),
        dict(type='mmwsss.PAMR', num_iters=2)
    ])
{loader}'''),
        pipeline_tiny_custom=('pipeline_custom', '''
variables = dict(
    classifier='configs/tiny/cam_tiny_custom.py',
    scored_on='configs/tiny/cam_tiny_custom.py --train-images',
    affinity_config='configs/tiny/affinity_tiny_custom.py',
    segmentor='configs/tiny/linear_tiny_custom.py')
'''))
    configs = folder / 'configs' / 'tiny'
    configs.mkdir(parents=True)
    for name, (base, text) in texts.items():
        base = ROOT / 'configs' / 'frozen' / f'{base}.py'
        (configs / f'{name}.py').write_text(f'_base_ = {str(base)!r}\n{text}')


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, with tiny configs."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path)
    return tmp_path


@pytest.fixture
def stopped(monkeypatch):
    """No stage runs; what they would have seen is noted."""
    seen = []

    def stop(config, **options):
        seen.append((options, os.environ.get('CUDA_VISIBLE_DEVICES')))
        raise StageError('stopped')

    monkeypatch.setattr(module, 'run_pipeline', stop)
    return seen


# ----------------------------------------------------------------- bad input
def refused(error, match, tags, **kwargs):
    """The call fails, and has written nothing."""
    kwargs.setdefault('pipeline', TINY)
    with pytest.raises(error, match=match):
        masks_from_tags(tags, 'seen', **kwargs)
    assert not Path('seen').exists()


def test_missing_weights(tmp_path, monkeypatch, stopped):
    monkeypatch.chdir(tmp_path)  # There is no folder checkpoints here.
    tags = make_photos(tmp_path / 'photos', some())
    small = 'configs/frozen/pipeline_vit-tiny_custom.py'
    with pytest.raises(FileNotFoundError) as caught:
        masks_from_tags(tags, 'seen', pipeline=small)
    text = str(caught.value)
    # All of them at once, and how to get them.
    assert 'checkpoints/tf_efficientnet_lite2.pth' in text
    assert 'checkpoints/vit_tiny_p16_224.pth' in text
    assert f'python tools/get_weights.py {small}' in text
    assert 'Smaller networks' not in text
    with pytest.raises(FileNotFoundError) as caught:
        masks_from_tags(tags, 'seen')
    text = str(caught.value)
    assert 'checkpoints/dinov2_vits14.pth' in text
    assert ('python tools/get_weights.py configs/frozen/pipeline_custom.py'
            in text)
    assert f'--pipeline {small}' in text
    assert not Path('seen').exists() and not stopped


@pytest.mark.parametrize('labels,match', [
    ({'a.png': ['disc']}, 'one photograph only'),
    ({'a.png': [], 'b.png': []}, 'nothing to learn'),
    ({'a.png': ['disc'], 'b.png': ['disc']},
     'Every photograph is labelled disc.*empty label'),
])
def test_labels_that_teach_nothing(here, stopped, labels, match):
    refused(ValueError, match, make_photos(here / 'photos', labels))
    assert not stopped


def test_class_without_photograph(here, stopped):
    tags = make_photos(here / 'photos', some())
    refused(ValueError, 'zebra', tags, classes=['disc', 'zebra'])
    # A column of its own, in which nobody has a 1.
    tags.write_text('image,disc,zebra\np0.png,1,0\np1.png,0,0\n')
    refused(ValueError, 'No photograph is labelled zebra.*--classes', tags)
    assert not stopped


def test_photographs_that_cannot_be_seen(here, stopped):
    tags = make_photos(here / 'photos', some())
    long = np.zeros((10, 3000, 3), np.uint8)
    cv2.imwrite(str(here / 'photos' / 'p1.png'), long)
    refused(ValueError, "'p1'.*10 x 3000.*20 times.*off the list", tags)
    (here / 'photos' / 'p1.png').write_bytes(b'no picture')
    refused(ValueError, '1 of 4 images cannot be read(?s:.*)p1.png', tags)
    (here / 'photos' / 'p1.png').unlink()
    refused(FileNotFoundError, 'p1', tags)
    assert not stopped


@pytest.mark.parametrize('device,match', [
    ('cuda:99', 'cuda:99 cannot be used'), ('gpu', "'gpu', must be")])
def test_device_that_is_not_there(here, stopped, device, match):
    tags = make_photos(here / 'photos', some())
    refused(ValueError, match, tags, device=device)
    assert not stopped


@pytest.mark.parametrize('pipeline,error,match', [
    ('configs/frozen/pipeline_voc-mini.py', ValueError,
     'no stage called masks.*pipeline_custom.py'),
    ('configs/frozen/cam_lite2_custom.py', ValueError, 'no stage called'),
    ('configs/frozen/no.py', FileNotFoundError, 'no config .*no.py')])
def test_other_pipelines(here, stopped, pipeline, error, match):
    tags = make_photos(here / 'photos', some())
    refused(error, match, tags, pipeline=pipeline)
    assert not stopped


def test_folders_in_use(here, stopped):
    tags = make_photos(here / 'photos', some())

    def again():
        masks_from_tags(tags, 'seen', pipeline=TINY)

    for _ in range(2):  # What was interrupted goes on.
        with pytest.raises(StageError):
            again()
    # Other labels are taken as long as nothing was made of the first.
    text = tags.read_text()
    tags.write_text(text.replace('p3.png,', 'p3.png,disc'))
    with pytest.raises(StageError):
        again()
    stages = Path('seen/stages')
    stages.mkdir()
    (stages / 'results.json').write_text('{"stages": []}')
    tags.write_text(text)
    before = Path('seen/data/image_labels.json').read_bytes()
    with pytest.raises(FileExistsError, match='results of other labels'):
        again()
    assert Path('seen/data/image_labels.json').read_bytes() == before
    # Somebody's work is not replaced.
    config = Path('seen/data/cam_tiny.py')
    config.write_text(config.read_text() + 'train_cfg = dict(max_iters=9)\n')
    edited = config.read_text()
    with pytest.raises(FileExistsError, match='cam_tiny.py was edited') as e:
        again()
    assert '--overwrite' not in str(e.value)
    assert config.read_text() == edited
    assert len(stopped) == 3


def test_what_stages_get(here, stopped, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,7')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    tags = make_photos(here / 'photos', some())
    for device in (None, 'cpu', 'cuda', 'cuda:1'):
        with pytest.raises(StageError):
            masks_from_tags(
                tags, 'seen', pipeline=TINY, device=device, seed=3)
    assert [visible for _, visible in stopped] == ['5,7', '', '5', '7']
    assert os.environ['CUDA_VISIBLE_DEVICES'] == '5,7'
    assert all(
        a['cfg_options'] == {'variables.seed': 3} for a, _ in stopped)
    assert not any(a['scores'] for a, _ in stopped)


def test_translated_masks_are_found(here, stopped):
    labels = {f'p{i}.png': ['disc'] * (i % 2) for i in range(4)}
    tags = make_photos(here / 'photos', labels)
    (here / 'gt').mkdir()
    for name, shown in labels.items():
        mask = np.zeros((40, 56), np.uint8)
        mask[:9] = 255 * len(shown)
        cv2.imwrite(f'gt/{name}', mask)
    with pytest.raises(StageError):
        masks_from_tags(tags, 'seen', masks='gt', pipeline=TINY,
                        mask_values=['255=disc'])
    assert stopped[0][0]['scores']
    cfg = Config.fromfile('seen/data/cam_tiny.py')
    dataset = DATASETS.build(
        dict(cfg.test_dataloader.dataset, pipeline=[]))
    assert len(dataset) == 4 and dataset.with_masks is True
    for info in map(dataset.get_data_info, range(4)):
        mask = read_mask(info['seg_map_path'], info['img_id'])
        assert mask.max() == len(info['gt_label'])


def test_results_of_another_seed(here, monkeypatch):

    def differs(config, **options):
        raise ValueError("Stage 'classify' was run with other commands; add "
                         '--redo classify')

    monkeypatch.setattr(module, 'run_pipeline', differs)
    tags = make_photos(here / 'photos', some())
    with pytest.raises(ValueError, match='another --out, or delete') as e:
        masks_from_tags(tags, 'seen', pipeline=TINY)
    # This tool has no such option.
    assert '--redo' not in str(e.value)


def test_command_line(here, stopped, monkeypatch):
    """Errors are sentences, without a traceback."""
    main = runpy.run_path(str(ROOT / 'tools' / 'masks_from_tags.py'))['main']
    tags = make_photos(here / 'photos', some(1))
    monkeypatch.setattr(sys, 'argv', [
        'masks_from_tags.py', str(tags), '--out', 'seen', '--pipeline', TINY])
    with pytest.raises(SystemExit, match='error: There is one photograph'):
        main()
    assert not stopped


# ---------------------------------------------------------------- all stages
def command(tags):
    return [
        sys.executable, '-W', 'ignore',
        str(ROOT / 'tools' / 'masks_from_tags.py'), str(tags), '--out', 'seen',
        '--pipeline', TINY, '--device', 'cpu', '--workers', '1'
    ]


@pytest.mark.slow
def test_from_tags_to_new_photographs(here):
    labels = some(12)
    labels['Bär 1.PNG'] = labels.pop('p0.png')
    tags = make_photos(here / 'photos', labels)
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    classify = here / 'seen' / 'stages' / 'classify'
    with open(here / 'log', 'wb') as log:
        process = subprocess.Popen(
            command(tags), env=env, stdout=log, stderr=log)
    deadline = time.time() + 300
    while process.poll() is None and time.time() < deadline and not list(
            classify.glob('iter_*.pth')):
        time.sleep(0.02)
    assert process.poll() is None, (here / 'log').read_text()[-3000:]
    process.send_signal(signal.SIGKILL)
    process.wait()

    done = subprocess.run(
        command(tags), env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    stages = json.loads((here / 'seen/stages/results.json').read_text())
    assert [s['name'] for s in stages['stages']] == [
        'classify', 'cams', 'affinity', 'labels', 'segment', 'masks']
    assert {s['status'] for s in stages['stages']} == {'finished'}
    masks = sorted((here / 'seen' / 'masks').rglob('*.png'))
    assert [m.stem for m in masks] == sorted(Path(n).stem for n in labels)
    for name, shown in labels.items():
        mask = read_mask(here / 'seen/masks' / f'{Path(name).stem}.png', name)
        assert mask.shape == (40, 56)
        known = {0, *(CLASSES.index(c) + 1 for c in shown)}
        assert set(np.unique(mask).tolist()) <= known
    assert (here / 'seen/stages/gallery/index.html').is_file()

    # The same from Python finds everything done.
    made = masks_from_tags(tags, 'seen', pipeline=TINY, workers=1)
    again = json.loads((here / 'seen/stages/results.json').read_text())
    assert again['stages'] == stages['stages']
    assert made.few and made.data.classes == CLASSES
    line = done.stdout.strip().splitlines()[-1].strip()
    assert line == made.infer_command() and line.endswith(
        '--tags disc,square')

    config, checkpoint = shlex.split(line)[2:4]
    model = CAMInferencer(config, checkpoint, 'cpu', show_progress=False)
    new = photograph(['disc'], seed=99)
    free, = model(new, return_probs=True)['predictions']
    told, = model(new, tags=['disc'], return_probs=True)['predictions']
    for p in (free, told):
        assert p['mask'].shape == (40, 56)
        assert p['probs'].shape == (3, 40, 56)
        assert np.array_equal(p['probs'].argmax(0), p['mask'])
        assert np.allclose(p['probs'].sum(0), 1, atol=1e-4)
    assert told['probs'][2].max() == 0
