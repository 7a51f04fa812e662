"""The command-line tools, from argument parsing to a whole run."""
import os
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
import torch

from .toy import ROOT, write_config

TOOLS = ROOT / 'tools'
SHAPES = ROOT / 'configs' / 'cam' / 'cam_vit_shapes.py'
# A few images and steps of the Shapes config.
SMALL = [
    f'{loader}.{key}' for loader in ('train_dataloader', 'val_dataloader',
                                     'test_dataloader')
    for key in ('dataset.num_train=8', 'dataset.num_val=4',
                'dataset.data_root=shapes', 'batch_size=4', 'num_workers=0',
                'persistent_workers=False')
] + ['train_cfg.max_epochs=1']


def parser(name):
    return runpy.run_path(str(TOOLS / name))['parse_args']


def environment(**more):
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    return dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=path, **more)


def call(*command, cwd=None, check=True, **more):
    done = subprocess.run([str(c) for c in command],
                          cwd=cwd,
                          env=environment(**more),
                          capture_output=True,
                          text=True)
    if check:
        assert done.returncode == 0, (done.stdout[-3000:] +
                                      done.stderr[-3000:])
    return done


def python(*arguments, **kwargs):
    return call(sys.executable, '-W', 'ignore', *arguments, **kwargs)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def mmseg_tool(name) -> Path:
    """A tool that mmseg was installed with."""
    home = Path(mmseg.__file__).parent
    for path in (home / '.mim' / 'tools' / name,
                 home.parent / 'tools' / name):
        if path.is_file():
            return path
    pytest.skip(f'mmseg was installed without its tools/{name}')


def test_train_arguments():
    args = parser('train.py')(['x.py'])
    assert (args.config, args.work_dir, args.resume, args.amp,
            args.cfg_options, args.launcher, args.local_rank) == (
                'x.py', None, False, False, None, 'none', 0)
    args = parser('train.py')([
        'x.py', '--work-dir', 'w', '--resume', '--amp', '--launcher',
        'pytorch', '--local-rank=3', '--cfg-options', 'a.b=2', 'c=[1,2]',
        'd=None'
    ])
    assert args.resume and args.amp and args.local_rank == 3
    assert args.cfg_options == {'a.b': 2, 'c': [1, 2], 'd': None}


def test_test_arguments():
    args = parser('test.py')([
        'x.py', 'y.pth', '--out', 'o', '--show-dir', 's', '--wait-time', '1',
        '--tta', '--local_rank', '1'
    ])
    assert (args.checkpoint, args.out, args.show_dir, args.wait_time,
            args.tta, args.show) == ('y.pth', 'o', 's', 1., True, False)


@pytest.mark.parametrize('name,argv', [
    ('train.py', []),
    ('train.py', ['x.py', '--launcher', 'magic']),
    ('test.py', []),
])
def test_bad_arguments(name, argv, capsys):
    with pytest.raises(SystemExit):
        parser(name)(argv)
    assert 'usage:' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_same_arguments_as_mmseg(name, monkeypatch):
    """Whoever knows mmseg's tool knows ours."""
    import argparse
    found = []

    def note(self, *args, **kwargs):
        found.append(
            {flag
             for action in self._actions for flag in action.option_strings} |
            {a.dest for a in self._actions if not a.option_strings})
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', note)
    for tool in (mmseg_tool(name), TOOLS / name):
        with pytest.raises(SystemExit):
            runpy.run_path(str(tool))['parse_args']()
    theirs, ours = found
    assert theirs <= ours


def test_errors_end_in_the_message(tmp_path):
    done = python(
        TOOLS / 'train.py', 'configs/acr/acr_vit_shaps.py', cwd=ROOT,
        check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('FileNotFoundError: There is no config')
    assert 'Did you mean configs/acr/acr_vit_shapes.py' in last


@pytest.mark.parametrize('name,count', [('dist_train.sh', 1),
                                        ('dist_test.sh', 2),
                                        ('slurm_train.sh', 2),
                                        ('slurm_test.sh', 3)])
def test_scripts_explain_themselves(name, count):
    done = call('bash', TOOLS / name, *['x'] * count, check=False)
    assert done.returncode == 2
    assert 'usage:' in done.stderr


def test_slurm_scripts_pass_everything_on(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nfor a in "$@"; do echo "[$a]"; done\n')
    srun.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    done = call(
        'bash',
        TOOLS / 'slurm_test.sh',
        'part',
        'job',
        'my config.py',
        'x.pth',
        '--cfg-options',
        'a=b c',
        PATH=path,
        GPUS='8',
        SRUN_ARGS='--time 3')
    words = done.stdout.splitlines()
    assert words[:2] == ['[-p]', '[part]']
    for word in ('[--ntasks=8]', '[--time]', '[3]', '[my config.py]',
                 '[x.pth]', '[slurm]', '[a=b c]'):
        assert word in words


@pytest.mark.slow
def test_two_processes(tmp_path):
    """dist_*.sh, on CPUs."""
    config = write_config(tmp_path / 'toy.py', tmp_path / 'run', steps=2)
    facts = dict(
        PYTHON=sys.executable,
        PORT=str(free_port()),
        CUDA_VISIBLE_DEVICES='-1')
    call('bash', TOOLS / 'dist_train.sh', config, 2, cwd=tmp_path,
         **facts)
    checkpoint = tmp_path / 'run' / 'epoch_2.pth'
    state = torch.load(checkpoint, weights_only=True)
    # 8 images, 2 processes, batches of 2.
    assert state['meta']['iter'] == 4
    assert state['optimizer']
    done = call('bash', TOOLS / 'dist_test.sh', config, checkpoint, 2,
                cwd=tmp_path, **facts)
    assert 'mean:' in done.stdout + done.stderr


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with one epoch of the Shapes config, trained by our tool."""
    folder = tmp_path_factory.mktemp('shapes')
    done = python(
        TOOLS / 'train.py', SHAPES, '--work-dir', 'run', '--cfg-options',
        *SMALL, cwd=folder)
    return folder, done.stdout + done.stderr


def test_train_and_test_a_config(trained):
    folder, output = trained
    assert 'mIoU' in output
    checkpoint = folder / 'run' / 'epoch_1.pth'
    assert torch.load(checkpoint, weights_only=True)['state_dict']
    done = python(
        TOOLS / 'test.py', SHAPES, checkpoint, '--work-dir', 'test', '--out',
        'cams', '--cfg-options', *SMALL, cwd=folder)
    assert 'mIoU' in done.stdout + done.stderr
    assert len(list((folder / 'cams').glob('*.npz'))) == 4
    assert (folder / 'cams' / 'manifest.json').is_file()


@pytest.mark.slow
def test_tools_of_mmseg(trained):
    """Our configs run with the tools that mmseg ships, unmodified."""
    folder, _ = trained
    python(
        mmseg_tool('train.py'), SHAPES, '--work-dir', 'theirs',
        '--cfg-options', *SMALL, cwd=folder)
    checkpoint = folder / 'theirs' / 'epoch_1.pth'
    # The very same training.
    ours, theirs = (
        torch.load(p, weights_only=True)['state_dict']
        for p in (folder / 'run' / 'epoch_1.pth', checkpoint))
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    done = python(
        mmseg_tool('test.py'), SHAPES, checkpoint, '--work-dir', 'test',
        '--cfg-options', *SMALL, cwd=folder)
    assert 'mIoU' in done.stdout + done.stderr


@pytest.mark.slow
def test_resume_equals_unbroken_run(trained):
    folder, _ = trained
    shutil.copytree(folder / 'run', folder / 'parts')
    more = [x for x in SMALL if 'num_workers' not in x]
    more = [x.replace('max_epochs=1', 'max_epochs=2') for x in more]
    # Other workers on purpose: they make no difference.
    more.append('train_dataloader.num_workers=1')
    python(
        TOOLS / 'train.py', SHAPES, '--work-dir', 'parts', '--resume',
        '--cfg-options', *more, cwd=folder)
    more[-1] = 'train_dataloader.num_workers=2'
    python(
        TOOLS / 'train.py', SHAPES, '--work-dir', 'whole', '--cfg-options',
        *more, cwd=folder)
    parts, whole = (
        torch.load(folder / x / 'epoch_2.pth', weights_only=True)
        for x in ('parts', 'whole'))
    assert parts['meta']['iter'] == whole['meta']['iter'] == 4
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, parts['state_dict'][name]), name


def test_wrong_checkpoint(trained):
    folder, _ = trained
    done = python(
        TOOLS / 'test.py', SHAPES, folder / 'run' / 'epoch_1.pth',
        '--work-dir', 'wrong', '--cfg-options', *SMALL,
        'model.cls_head.num_classes=3', cwd=folder, check=False)
    assert done.returncode == 1
    assert 'checkpoint of another architecture' in done.stderr
    assert 'cls_head' in done.stderr
