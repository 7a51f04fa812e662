"""Nothing half-written survives a kill, and a second run continues."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from .toy import ROOT, write_config

ENV = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))


def command(config: Path, *options: str) -> list:
    return [
        sys.executable, '-W', 'ignore',
        str(ROOT / 'tools' / 'train.py'),
        str(config), *options
    ]


def train(config: Path, *options: str) -> str:
    done = subprocess.run(
        command(config, *options),
        env=ENV,
        cwd=config.parent,
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def checkpoint(path: Path) -> dict:
    return torch.load(path, map_location='cpu', weights_only=True)


def assert_same_state(one: dict, other: dict) -> None:
    assert one['meta']['iter'] == other['meta']['iter']
    assert one['meta']['epoch'] == other['meta']['epoch']
    for name, value in one['state_dict'].items():
        assert value.isfinite().all()
        assert torch.equal(value, other['state_dict'][name]), name
    momentum = [x['optimizer']['state'] for x in (one, other)]
    for key in momentum[0]:
        assert torch.equal(*(m[key]['momentum_buffer'] for m in momentum))
    assert one['param_schedulers'] == other['param_schedulers']


def check_folder(work_dir: Path) -> None:
    """What a kill may leave: whole checkpoints and a note that is true."""
    for path in work_dir.glob('[!.]*.pth'):
        assert 'state_dict' in checkpoint(path)
    note = work_dir / 'last_checkpoint'
    if note.exists():
        assert Path(note.read_text()).is_file()


def run_and_kill(config: Path, work_dir: Path, delay: float) -> bool:
    """Train, SIGKILL ``delay`` seconds after the first sign of a checkpoint.

    Returns whether the run was still alive then.
    """
    process = subprocess.Popen(
        command(config, '--resume'),
        env=ENV,
        cwd=config.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True)
    before = {p.name for p in work_dir.glob('*.pth')} | {
        p.name
        for p in work_dir.glob('.*.pth')
    }
    deadline = time.time() + 120
    while process.poll() is None and time.time() < deadline:
        now = {p.name for p in work_dir.glob('*.pth')} | {
            p.name
            for p in work_dir.glob('.*.pth')
        }
        if now - before:
            break
        time.sleep(0.002)
    time.sleep(delay)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


@pytest.mark.slow
@pytest.mark.parametrize('by_epoch,keep', [(True, 1), (False, 2)])
def test_kill_and_resume(tmp_path, by_epoch, keep):
    steps = 12
    facts = dict(by_epoch=by_epoch, steps=steps, keep=keep, ballast=3_000_000)
    whole = write_config(tmp_path / 'whole.py', tmp_path / 'whole', **facts)
    train(whole)
    name = f'{"epoch" if by_epoch else "iter"}_{steps}.pth'

    work_dir = tmp_path / 'killed'
    config = write_config(tmp_path / 'killed.py', work_dir, **facts)
    draw = random.Random(17 + 2 * keep + by_epoch)
    kills = 0
    for _ in range(4):
        kills += run_and_kill(config, work_dir, draw.uniform(0, 0.15))
        check_folder(work_dir)
    assert kills, 'every run ended before it could be killed'
    train(config, '--resume')

    assert_same_state(
        checkpoint(tmp_path / 'whole' / name), checkpoint(work_dir / name))
    assert not list(work_dir.glob('.*.pth')), 'temporary files stayed'
    assert len(list(work_dir.glob('*.pth'))) == keep
    assert (work_dir / 'last_checkpoint').read_text().endswith(name)


@pytest.mark.slow
def test_killed_while_writing(tmp_path):
    # The moment itself: temporary file written, not yet renamed.
    work_dir = tmp_path / 'run'
    config = write_config(tmp_path / 'run.py', work_dir, steps=3)
    code = ('import os, runpy, signal, sys\n'
            'count = [0]\n'
            'replace = os.replace\n'
            'def die(src, dst):\n'
            '    count[0] += str(dst).endswith(".pth")\n'
            '    if count[0] == 2:\n'
            '        os.kill(os.getpid(), signal.SIGKILL)\n'
            '    replace(src, dst)\n'
            'os.replace = die\n'
            f'sys.argv = {["train.py", str(config)]!r}\n'
            f'runpy.run_path({str(ROOT / "tools" / "train.py")!r}, '
            'run_name="__main__")\n')
    done = subprocess.run([sys.executable, '-c', code],
                          env=ENV,
                          capture_output=True,
                          text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert len(list(work_dir.glob('.epoch_2.tmp-*.pth'))) == 1
    assert not (work_dir / 'epoch_2.pth').exists()
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_1.pth')

    output = train(config, '--resume')
    assert 'resumed epoch: 1, iter: 4' in output
    assert not list(work_dir.glob('.*.pth'))
    assert 'state_dict' in checkpoint(work_dir / 'epoch_3.pth')
