"""The refine tool: results, resume, and all that can go wrong on the way."""
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwsss.apis.refine import refine_cams
from mmwsss.datasets import ShapesDataset
from mmwsss.pseudo_labels import read_cam, read_manifest, write_cam
from mmwsss.pseudo_labels.pool import RefineError
from mmwsss.utils.progress import Progress

from ..toy import ROOT

NUM = 6
SIZE = (32, 32)
TOOL = ROOT / 'tools' / 'refine_cams.py'
CONFIG = """
default_scope = 'mmseg'
refine_dataset = dict(
    type='mmwsss.ShapesDataset', data_root={root!r}, num_train={num},
    num_val=1, image_size=32,
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        {steps}
    ])
"""
MASKS = ("dict(type='mmwsss.ThresholdMask', threshold=0.4),"
         "dict(type='mmwsss.SaveMask')")
ALL = ("dict(type='mmwsss.CRFScores', alphas=(4, 24)),"
       "dict(type='mmwsss.SaveScores', alphas=(4, 24)),"
       "dict(type='mmwsss.IRNLabel'),"
       "dict(type='mmwsss.SaveMask', out_dir='irn')")


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A data set with CAMs of all images."""
    home = tmp_path_factory.mktemp('world')
    dataset = ShapesDataset(
        data_root=str(home / 'shapes'),
        num_train=NUM,
        num_val=1,
        image_size=32,
        pipeline=[])
    rng = np.random.default_rng(0)
    for i in range(NUM):
        info = dataset.get_data_info(i)
        cam = rng.random((len(info['gt_label']), *SIZE))
        write_cam(home / 'cams', info['img_id'], info['gt_label'], cam, SIZE)
    return home


@pytest.fixture
def setup(world, tmp_path):
    """Writes configs; calls the tool in this process."""

    class Setup:
        out = tmp_path / 'out'
        cams = world / 'cams'

        def config(self, steps=MASKS, more=''):
            path = tmp_path / 'config.py'
            path.write_text(
                CONFIG.format(
                    root=str(world / 'shapes'), num=NUM, steps=steps) + more)
            return path

        def wrong(self, how, img_id='train_00002'):
            step = (f"dict(type='mmwsss.GoWrong', img_id='{img_id}', "
                    f"how='{how}', note={str(tmp_path / 'note')!r}),")
            return self.config(
                step + MASKS,
                "custom_imports = dict(imports=['tests.test_apis."
                "refine_steps'])\n")

        def run(self, config, *options, out=None, cams=None, workers=2):
            parse = runpy.run_path(str(TOOL))['parse_args']
            return refine_cams(
                **vars(parse([
                    str(config), '--out',
                    str(out or self.out), '--cams',
                    str(cams or self.cams), '--workers',
                    str(workers), *options
                ])))

        def command(self, config):
            return [
                sys.executable, '-W', 'ignore',
                str(TOOL),
                str(config), '--cams',
                str(self.cams), '--out',
                str(self.out), '--workers', '2'
            ]

    return Setup()


ENV = dict(
    os.environ,
    OMP_NUM_THREADS='1',
    PYTHONPATH=os.pathsep.join([str(ROOT),
                                os.environ.get('PYTHONPATH', '')]))


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(Path(folder).rglob('*'))
        if p.suffix in ('.npz', '.png')
    }


def assert_complete(out, num=NUM):
    found = contents(out)
    assert len(found) == num and not any('.tmp-' in name for name in found)
    assert (Path(out) / 'manifest.json').is_file()


def children(pid):
    """Processes below one, as the kernel tells it."""
    try:
        text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    except OSError:
        return set()
    below = {int(x) for x in text.split()}
    return below.union(*map(children, below))


def alive(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1]
    except OSError:
        return False
    return state.split()[0] != 'Z'


def test_results_for_any_number_of_workers(setup, tmp_path):
    config = setup.config(ALL)
    result = setup.run(config, workers=1, out=tmp_path / 'one')
    assert (result.num_images, result.num_written) == (NUM, NUM)
    setup.run(config, workers=4, out=tmp_path / 'four')
    assert contents(tmp_path / 'one') == contents(tmp_path / 'four')
    names = set(contents(tmp_path / 'one'))
    assert names == {
        f'{folder}/train_{i:05d}.{suffix}'
        for folder, suffix in (('alpha4', 'npz'), ('alpha24', 'npz'), ('irn',
                                                                       'png'))
        for i in range(NUM)
    }
    # The same as the transforms in this process.
    from mmengine.config import Config
    cfg = Config.fromfile(config).refine_dataset
    cfg.cam_dir = str(setup.cams)
    for step in cfg.pipeline:
        if step.type.startswith('mmwsss.Save'):
            step.out_dir = str(tmp_path / 'plain' / step.get('out_dir', '.'))
    cfg.pop('type')
    dataset = ShapesDataset(**cfg)
    sample = dataset[3]
    found = read_cam(tmp_path / 'one/alpha24/train_00003.npz')
    np.testing.assert_allclose(
        found.cam, sample['crf_scores'][24][1:], atol=2.5e-4)
    with Image.open(tmp_path / 'one/irn/train_00003.png') as picture:
        assert np.array_equal(np.array(picture), sample['pseudo_mask'])
        # In the dataset's colours.
        colors = np.array(picture.getpalette()).reshape(-1, 3)
    palette = dataset.metainfo['palette']
    assert colors[:len(palette)].tolist() == [list(c) for c in palette]
    manifest = read_manifest(tmp_path / 'one/alpha4')
    assert manifest['num_images'] == NUM
    assert manifest['cams']['folder'] == str(setup.cams)
    assert manifest['pipeline'][2]['alphas'] == [4, 24]
    assert 'mmwsss-masks' in (tmp_path / 'one/irn/manifest.json').read_text()
    assert not multiprocessing.active_children()


def test_skips_what_is_there(setup):
    config = setup.config()
    setup.run(config)
    before = {
        p: p.stat().st_mtime_ns
        for p in setup.out.glob('*.png')
    }
    assert setup.run(config).num_written == 0
    gone = setup.out / 'train_00004.png'
    gone.unlink()
    stale = setup.out / '.train_00004.tmp-abc.png'
    stale.touch()
    assert setup.run(config).num_written == 1
    assert gone.is_file() and not stale.exists()
    assert all(p.stat().st_mtime_ns == t for p, t in before.items()
               if p != gone)


def test_other_settings(setup):
    setup.run(setup.config())
    before = contents(setup.out)
    other = setup.config(MASKS.replace('0.4', '0.9'))
    with pytest.raises(
            ValueError,
            match=r'(?s)other settings.*threshold: 0.4 there, 0.9 now'
            '.*--overwrite'):
        setup.run(other)
    assert contents(setup.out) == before
    assert setup.run(other, '--overwrite').num_written == NUM
    after = contents(setup.out)
    assert after.keys() == before.keys() and after != before
    assert setup.run(other).num_written == 0


def test_other_class_maps(setup, tmp_path):
    setup.run(setup.config())
    for path in setup.cams.glob('*.npz'):
        (tmp_path / 'copy').mkdir(exist_ok=True)
        (tmp_path / 'copy' / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match='cams.folder: '):
        setup.run(setup.config(), cams=tmp_path / 'copy')


def test_files_of_unknown_settings(setup):
    setup.run(setup.config())
    (setup.out / 'settings.json').unlink()
    with pytest.raises(ValueError, match='no settings.json.*--overwrite'):
        setup.run(setup.config())
    (setup.out / 'settings.json').write_text('{')
    with pytest.raises(ValueError, match='not JSON.*--overwrite'):
        setup.run(setup.config())
    assert setup.run(setup.config(), '--overwrite').num_written == NUM


def test_overwrite_that_is_cut_off(setup, monkeypatch):
    setup.run(setup.config())
    other = setup.config(MASKS.replace('0.4', '0.9'))
    unlink = Path.unlink

    def die(path, missing_ok=False):
        if path.name == 'train_00003.png':
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, 'unlink', die)
    with pytest.raises(KeyboardInterrupt):
        setup.run(other, '--overwrite')
    monkeypatch.undo()
    # Old masks are left, and neither setting takes them for its own.
    assert (setup.out / 'train_00005.png').exists()
    for config in (other, setup.config()):
        with pytest.raises(ValueError, match='--overwrite'):
            setup.run(config)


@pytest.mark.parametrize('how,words', [
    ('raise', 'ValueError: something is wrong'),
    ('bug', r'(?s)ZeroDivisionError: a bug.*refine_steps.py'),
    ('full', r'No space left.*Make room on the disk'),
    ('none', 'the pipeline gave None'),
    ('kill', r'was killed \(SIGKILL\) .*fewer --workers'),
    ('exit', 'ended with code 3 '),
])
def test_failure_and_continuation(setup, how, words):
    config = setup.wrong(how)
    with pytest.raises(RefineError, match=words) as error:
        setup.run(config)
    assert 'train_00002' in str(error.value)
    assert not multiprocessing.active_children()
    assert not (setup.out / 'train_00002.png').exists()
    assert not (setup.out / 'manifest.json').exists()
    assert not list(setup.out.rglob('.*.tmp-*'))
    done = len(contents(setup.out))
    assert setup.run(config).num_written == NUM - done
    assert_complete(setup.out)


def test_bad_class_maps(setup, tmp_path):
    cams = tmp_path / 'bad'
    cams.mkdir()
    for path in setup.cams.glob('*.npz'):
        (cams / path.name).write_bytes(path.read_bytes())
    bad = cams / 'train_00001.npz'
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(RefineError, match='train_00001.*damaged'):
        setup.run(setup.config(), cams=cams)
    bad.unlink()
    with pytest.raises(
            FileNotFoundError,
            match=r'1 of \d image.* train_00001\..*tools/test.py'):
        setup.run(setup.config(), cams=cams)
    with pytest.raises(FileNotFoundError, match='no folder of CAMs'):
        setup.run(setup.config(), cams=tmp_path / 'nowhere')


@pytest.mark.parametrize('steps,words', [
    ('', 'writes nothing'),
    (MASKS + ", dict(type='mmwsss.SaveMask')", 'Two steps'),
    ("dict(type='mmwsss.NoSuchStep'), " + MASKS, 'NoSuchStep'),
])
def test_bad_pipelines(setup, steps, words):
    with pytest.raises((ValueError, KeyError), match=words):
        setup.run(setup.config(steps))
    assert not setup.out.exists()


def test_does_not_overwrite_its_input(setup):
    config = setup.config("dict(type='mmwsss.SaveCAMs')")
    before = contents(setup.cams)
    with pytest.raises(ValueError, match='different folders'):
        setup.run(config, out=setup.cams)
    assert contents(setup.cams) == before


def test_bad_arguments(setup, tmp_path):
    with pytest.raises(ValueError, match='--workers must be at least 1'):
        setup.run(setup.config(), workers=0)
    with pytest.raises(FileNotFoundError, match='no config'):
        setup.run(tmp_path / 'none.py')
    empty = tmp_path / 'empty.py'
    empty.write_text('a = 1\n')
    joined = tmp_path / 'joined.py'
    joined.write_text("refine_dataset = dict(type='ConcatDataset', "
                      'datasets=[])\n')
    with pytest.raises(ValueError, match='once per part'):
        setup.run(joined)
    with pytest.raises(ValueError, match='has no refine_dataset'):
        setup.run(empty)
    config = setup.config()
    config.write_text(config.read_text().replace(
        "dict(type='mmwsss.LoadCAMs'),", ''))
    with pytest.raises(ValueError, match='--cams'):
        setup.run(config)


def test_one_run_at_a_time(setup):
    from filelock import FileLock
    setup.out.mkdir()
    with FileLock(str(setup.out / '.run.lock')):
        with pytest.raises(ValueError, match='Another run'):
            setup.run(setup.config())


def test_progress(monkeypatch, capsys):
    lines = []
    monkeypatch.setattr('mmwsss.utils.progress.print_log',
                        lambda text, logger: lines.append(text))
    for total in (1, 5, 200):
        lines.clear()
        with Progress(total) as progress:
            for i in range(total):
                progress.step(str(i))
        assert len(lines) == dict([(1, 0), (5, 4), (200, 10)])[total]
    assert lines[0].startswith('20 of 200 images, ')
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    lines.clear()
    with Progress(2) as progress:
        progress.step('a')
        progress.step('b')
    assert not lines and '2/2' in capsys.readouterr().err


def interrupt(setup, send):
    """Run the tool in a hang, send a signal, and see what is left."""
    config = setup.wrong('hang')
    process = subprocess.Popen(
        setup.command(config),
        env=ENV,
        cwd=setup.out.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True)
    note = setup.out.parent / 'note'
    deadline = time.time() + 120
    while not (note.exists() and note.read_text()) and \
            process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    assert note.exists(), process.communicate()[0][-3000:]
    below = children(process.pid)
    assert len(below) >= 3  # Two workers and the process they come from.
    send(process)
    output = process.communicate(timeout=60)[0]
    deadline = time.time() + 30
    while any(map(alive, below)) and time.time() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in below if alive(pid)], 'workers are left'
    assert not (setup.out / 'manifest.json').exists()
    assert not (setup.out / 'train_00002.png').exists()
    done = len(contents(setup.out)) - sum(
        '.tmp-' in name for name in contents(setup.out))
    assert setup.run(config).num_written == NUM - done
    assert_complete(setup.out)
    return process.returncode, output


@pytest.mark.slow
def test_ctrl_c(setup):
    # A terminal sends it to all processes.
    code, output = interrupt(
        setup, lambda process: os.killpg(process.pid, signal.SIGINT))
    assert code == 130 and 'run the same command again' in output
    assert 'Traceback' not in output


@pytest.mark.slow
def test_sigterm(setup):
    code, output = interrupt(setup, lambda process: process.terminate())
    assert code == 143 and 'Traceback' not in output


@pytest.mark.slow
def test_sigkill(setup):
    # Nobody ends the workers; they see that the parent is gone when they are
    # done with their image. The one that hangs never is and gets help.
    def send(process):
        process.kill()
        process.wait()
        os.kill(int((setup.out.parent / 'note').read_text()), signal.SIGTERM)

    code, _ = interrupt(setup, send)
    assert code == -signal.SIGKILL


def test_command_line(setup):
    result = subprocess.run(
        setup.command(setup.wrong('raise')),
        env=ENV,
        cwd=setup.out.parent,
        capture_output=True,
        text=True)
    assert result.returncode == 1
    assert 'error: Image train_00002 failed: ' in result.stderr
    assert 'Traceback' not in result.stderr
    # Noted from the start, for the run that continues.
    assert json.loads((setup.out / 'settings.json').read_text())['classes']
