"""SIGKILL at random moments; the same command again gives the same bits.

Training, CAMs, the CRF's pool and a pipeline of all three are killed
with everything they started, again and again, until they get through. Most
moments lie after the first sign of work, because most of these seconds are
Python's start. ``MMWSSS_KILLS`` sets how many kills there are in all.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from .test_tools import TOOLS, environment

KILLS = int(os.environ.get('MMWSSS_KILLS', 50))
STEPS = 40
IMAGES = 24
LAST = f'iter_{STEPS}.pth'
#: Nothing here takes longer on the slowest machine.
PATIENCE = 300
CONFIG = """
default_scope = 'mmseg'
work_dir = 'run'
shapes = dict(
    type='mmwsss.ShapesDataset', num_train=8, num_val={images},
    image_size=32, data_root={root!r})
load = dict(type='mmwsss.LoadImage', to_float32=True)
pack = dict(type='mmwsss.PackWSSSInputs')
model = dict(
    type='mmwsss.CAMSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor', size=(32, 32), mean=[128.] * 3,
        std=[64.] * 3),
    backbone=dict(
        type='mmwsss.AttentionViT', img_size=32, patch_size=8,
        drop_rate=0.1, arch=dict(
            embed_dims=24, num_layers=2, num_heads=3,
            feedforward_channels=48)),
    cls_head=dict(
        type='mmwsss.ClassTokenHead', num_classes=6, in_channels=24),
    localizer=dict(type='mmwsss.GETAM', start_layer=1))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(
        **shapes,
        pipeline=[load, dict(type='RandomFlip', prob=0.5), pack]))
val_dataloader = dict(
    batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **shapes, ann_file='ImageSets/Segmentation/val.txt', with_masks=True,
        test_mode=True,
        pipeline=[load, dict(type='mmwsss.LoadMask'), pack]))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmwsss.CAMIoUMetric')
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
param_scheduler = dict(type='PolyLR', end={steps}, by_epoch=False)
train_cfg = dict(by_epoch=False, max_iters={steps}, val_interval=20)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(
        type='mmwsss.AtomicCheckpointHook', by_epoch=False, interval=1,
        max_keep_ckpts=2))
custom_hooks = [dict(type='mmwsss.SaveCAMsHook')]
randomness = dict(seed=3)
log_processor = dict(by_epoch=False)
"""
REFINE = """
default_scope = 'mmseg'
refine_dataset = dict(
    type='mmwsss.ShapesDataset', num_train=8, num_val={images},
    image_size=32, data_root={root!r},
    ann_file='ImageSets/Segmentation/val.txt',
    pipeline=[
        dict(type='mmwsss.LoadImage'), dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.CRFMask', alpha=8), dict(type='mmwsss.SaveMask')])
"""
PIPELINE = """
stages = dict(
    train=dict(
        command='tools/train.py {home}/model.py --work-dir {{dir}} --resume',
        outputs=dict(checkpoint='{{dir}}/{last}')),
    cams=dict(
        command='tools/test.py {home}/model.py {{train.checkpoint}} '
        '--work-dir {{dir}} --out {{dir}}/maps',
        outputs=dict(maps='{{dir}}/maps')),
    masks=dict(
        command='tools/refine_cams.py {home}/refine.py --cams {{cams.maps}} '
        '--out {{dir}}/masks --workers 2',
        score='tools/evaluate_masks.py {{dir}}/masks '
        '--config {home}/refine.py --out {{dir}}/metrics.json',
        metrics='{{dir}}/metrics.json', rows={{'masks': 'mIoU'}},
        outputs=dict(masks='{{dir}}/masks')))
"""


# ------------------------------------------------------------------- running
def write_configs(home: Path, root: Path) -> None:
    """The configs of all stages, on Shapes in ``root``."""
    home.mkdir(exist_ok=True)
    facts = dict(root=str(root), images=IMAGES, steps=STEPS)
    (home / 'model.py').write_text(CONFIG.format(**facts))
    (home / 'refine.py').write_text(REFINE.format(**facts))
    (home / 'pipe.py').write_text(PIPELINE.format(home=home, last=LAST))


def command(name: str, *argv: object) -> list:
    return [
        sys.executable, '-W', 'ignore',
        str(TOOLS / name), *map(str, argv)
    ]


@contextmanager
def started(line: list, cwd: Path) -> Iterator[subprocess.Popen]:
    """A tool in a process group of its own, killed at the end."""
    with (cwd / 'output.log').open('ab') as log:
        process = subprocess.Popen(
            line, cwd=cwd, env=environment(), stdout=log, stderr=log,
            start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def seen(folder: Path, marks: tuple) -> set:
    """Files that are a sign of work, temporary ones included."""
    found = set()
    for path, folders, names in os.walk(folder):
        found.update(
            os.path.join(path, name) for name in (*folders, *names)
            if name.endswith(marks) or '.shapes.tmp-' in name)
    return found


def wait_for_sign(process: subprocess.Popen, folder: Path,
                  marks: tuple) -> None:
    """Return when a file appears, or when the process has ended."""
    before, deadline = seen(folder, marks), time.time() + PATIENCE
    while process.poll() is None and not seen(folder, marks) - before:
        assert time.time() < deadline, 'nothing happens'
        time.sleep(0.005)


def finish(line: list, cwd: Path, marks: tuple) -> float:
    """Run undisturbed; returns the seconds after the first sign of work."""
    with started(line, cwd) as process:
        wait_for_sign(process, cwd, marks)
        begin = time.time()
        assert process.wait(PATIENCE) == 0, \
            (cwd / 'output.log').read_text()[-3000:]
        return time.time() - begin


def run_and_kill(line: list, cwd: Path, marks: tuple, delay: float,
                 at_start: bool) -> bool:
    """Kill a tool with all its processes.

    Args:
        line (list): The command.
        cwd (Path): Where it runs.
        marks (tuple): Endings of files that are a sign of work.
        delay (float): Seconds to wait after the first one.
        at_start (bool): Count from the start instead.

    Returns:
        bool: Whether it was killed; else it has ended well.
    """
    with started(line, cwd) as process:
        if not at_start:
            wait_for_sign(process, cwd, marks)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            return True  # Killed on the way out.
    assert process.returncode == 0, (cwd / 'output.log').read_text()[-3000:]
    return False


# ------------------------------------------------------------------ checking
def assert_nothing_is_cut(folder: Path) -> None:
    """Whatever stands under its final name can be read to its end."""
    for path in folder.rglob('[!.]*'):
        if any(part.startswith('.') or part == 'vis_data'
               for part in path.relative_to(folder).parts):
            continue  # Unfinished, or mmengine's running log.
        if path.suffix == '.pth':
            assert 'state_dict' in torch.load(path, weights_only=True)
        elif path.suffix == '.npz':
            assert arrays(path)
        elif path.suffix == '.png':
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == '.json':
            json.loads(path.read_text())


def assert_no_orphans(folder: Path) -> None:
    left = [p.name for p in folder.rglob('.*') if '.tmp-' in p.name]
    assert not left, left


def arrays(path: Path) -> dict:
    with np.load(path) as content:
        return {name: content[name] for name in content.files}


def assert_same_training(one: Path, other: Path) -> None:
    states = [torch.load(p / LAST, weights_only=True) for p in (one, other)]
    assert [s['meta']['iter'] for s in states] == [STEPS, STEPS]
    weights = [s['state_dict'] for s in states]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    momentum = [s['optimizer']['state'] for s in states]
    for key, state in momentum[0].items():
        assert torch.equal(state['momentum_buffer'],
                           momentum[1][key]['momentum_buffer'])
    assert states[0]['param_schedulers'] == states[1]['param_schedulers']
    # What a killed run had saved was cleared away as usual.
    for folder in (one, other):
        assert {p.name for p in folder.glob('*.pth')
                } == {LAST, f'iter_{STEPS - 1}.pth'}
        assert (folder / 'last_checkpoint').read_text().endswith(LAST)


def assert_same_cams(one: Path, other: Path) -> None:
    files = [sorted(p.relative_to(f) for f in [folder]
                    for p in f.rglob('*.npz')) for folder in (one, other)]
    assert len(files[0]) == IMAGES and files[0] == files[1]
    for name in files[0]:
        first, second = arrays(one / name), arrays(other / name)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert value.dtype == second[key].dtype
            assert np.array_equal(value, second[key]), (name, key)
    assert (other / 'manifest.json').is_file()


def assert_same_masks(one: Path, other: Path) -> None:
    files = [{p.name: p.read_bytes() for p in f.glob('*.png')}
             for f in (one, other)]
    assert len(files[0]) == IMAGES and files[0] == files[1]
    assert (other / 'manifest.json').is_file()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """All stages undisturbed, and how long each of them works."""
    home = tmp_path_factory.mktemp('whole')
    write_configs(home, home / 'shapes')
    spans = dict(
        train=finish(
            command('train.py', 'model.py', '--work-dir', 'run'), home,
            ('.pth', )),
        cams=finish(
            command('test.py', 'model.py', f'run/{LAST}', '--work-dir',
                    'test', '--out', 'cams'), home, ('.npz', )),
        masks=finish(
            command('refine_cams.py', 'refine.py', '--cams', 'cams', '--out',
                    'masks', '--workers', '2'), home, ('.png', )))
    assert_same_training(home / 'run', home / 'run')
    return home, spans


def survive(line: list, home: Path, prepare, marks: list, span: float,
            kills: int, seed: int, check) -> None:
    """Kill a command until it was killed often enough and got through.

    Args:
        line (list): The command.
        home (Path): Where it runs.
        prepare (Callable): Sets a fresh ``home`` up.
        marks (list): Of each kill one is drawn, see :func:`run_and_kill`.
        span (float): Kills fall into so many seconds after a mark.
        kills (int): How many.
        seed (int): Decides the moments.
        check (Callable): Compares the result with the undisturbed one.
    """
    draw, done = random.Random(seed), 0
    while done < kills:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        prepare()
        ended = False
        while not ended:
            if done < kills:
                at_start = draw.random() < 0.15
                ended = not run_and_kill(
                    line, home, draw.choice(marks),
                    draw.uniform(0, 8 if at_start else span), at_start)
                done += not ended
                assert_nothing_is_cut(home)
            else:
                finish(line, home, marks[0])
                ended = True
        assert_nothing_is_cut(home)
        assert_no_orphans(home)
        check()


@pytest.mark.slow
def test_training(whole, tmp_path):
    home, spans = whole
    here = tmp_path / 'killed'
    survive(
        command('train.py', 'model.py', '--work-dir', 'run', '--resume'),
        # Shapes is drawn again, so kills hit that as well.
        here, lambda: write_configs(here, here / 'shapes'),
        [('.pth', ), ('.pth', ), ('last_checkpoint', )], spans['train'],
        -(-KILLS * 14 // 50), 0,
        lambda: assert_same_training(home / 'run', here / 'run'))


@pytest.mark.slow
def test_cams(whole, tmp_path):
    home, spans = whole
    here = tmp_path / 'killed'

    def check():
        assert_same_cams(home / 'cams', here / 'cams')
        manifests = [json.loads((h / 'cams/manifest.json').read_text())
                     for h in (home, here)]
        assert manifests[0]['checkpoint_sha256'] == \
            manifests[1]['checkpoint_sha256']
        metrics = [json.loads((h / 'test/metrics.json').read_text())
                   for h in (home, here)]
        assert metrics[0]['metrics'] == metrics[1]['metrics']

    survive(
        command('test.py', 'model.py', home / 'run' / LAST, '--work-dir',
                'test', '--out', 'cams'),
        here, lambda: write_configs(here, home / 'shapes'), [('.npz', )],
        spans['cams'], KILLS * 12 // 50, 1, check)


@pytest.mark.slow
def test_pool(whole, tmp_path):
    home, spans = whole
    here = tmp_path / 'killed'

    def check():
        assert_same_masks(home / 'masks', here / 'masks')
        names = ('manifest.json', 'settings.json')
        for name in names:
            one, other = (json.loads((h / 'masks' / name).read_text())
                          for h in (home, here))
            one.pop('config', None), other.pop('config', None)
            assert one == other

    survive(
        command('refine_cams.py', 'refine.py', '--cams', home / 'cams',
                '--out', 'masks', '--workers', '2'),
        here, lambda: write_configs(here, home / 'shapes'), [('.png', )],
        spans['masks'], KILLS * 12 // 50, 2, check)


@pytest.mark.slow
def test_pipeline(whole, tmp_path):
    home, spans = whole
    here = tmp_path / 'killed'

    def check():
        stages = here / 'work'
        assert_same_training(home / 'run', stages / 'train')
        assert_same_cams(home / 'cams', stages / 'cams' / 'maps')
        assert_same_masks(home / 'masks', stages / 'masks' / 'masks')
        results = json.loads((stages / 'results.json').read_text())
        assert [s['name'] for s in results['stages']] == [
            'train', 'cams', 'masks'
        ]
        for stage in results['stages']:
            assert stage['status'] == 'finished'
        assert 0 <= results['stages'][-1]['metrics']['mIoU'] <= 100

    survive(
        command('run_pipeline.py', 'pipe.py', '--work-dir', 'work'), here,
        lambda: write_configs(here, home / 'shapes'),
        # Notes of the pipeline, and files of each of its stages.
        [('.json', ), ('.pth', ), ('.npz', ), ('.png', ), ('.png', )],
        max(spans.values()), KILLS * 12 // 50, 3, check)
