"""Several processes that share one folder, and one that is killed."""
import json
import multiprocessing
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from mmengine.dataset import Compose

from mmwsss.apis.cam_inferencer import CAMInferencer, infer
from mmwsss.apis.inference_output import Output
from mmwsss.pseudo_labels import read_manifest
from mmwsss.pseudo_labels.transforms.writers import SaveMask
from mmwsss.utils.run_folder import LOCK, RunFolder
from mmwsss.utils.shards import Shard, parse_shard

from ..test_datasets.builders import make_voc
from ..test_engine.test_output_hooks import make_cfg
from .test_cam_inferencer import _restore_loader, save  # noqa: F401
from .test_refine import ENV, NUM, assert_complete, contents, setup, world  # noqa: F401


# ------------------------------------------------------------- which images
@pytest.mark.parametrize('count', [1, 2, 3, 7, 20])
def test_shares_are_a_partition(count):
    items = list(range(11))
    shares = [Shard(i, count).of(items) for i in range(1, count + 1)]
    assert sorted(x for share in shares for x in share) == items
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


TORCHRUN = dict(TORCHELASTIC_RUN_ID='x', RANK='1', WORLD_SIZE='3')
SRUN = dict(SLURM_PROCID='2', SLURM_NTASKS='3', SLURM_STEP_NUM_TASKS='3')
ARRAY = dict(SLURM_ARRAY_TASK_ID='14', SLURM_ARRAY_TASK_MIN='10',
             SLURM_ARRAY_TASK_STEP='2', SLURM_ARRAY_TASK_COUNT='3')


@pytest.mark.parametrize('text,environment,expected', [
    (None, {}, '1/1'),
    ('2/3', {}, '2/3'),
    ('2/3', TORCHRUN, '2/3'),
    ('1/1', SRUN, '1/1'),
    (None, TORCHRUN, '2/3'),
    (None, SRUN, '3/3'),
    ('auto', SRUN, '3/3'),
    ('auto', ARRAY, '3/3'),
    ('auto', {**ARRAY, **SRUN}, '9/9'),
    # A job's script itself runs once, however many tasks the job may have,
    # and an array may stand for seeds.
    (None, dict(SLURM_PROCID='0', SLURM_NTASKS='3'), '1/1'),
    ('auto', dict(SLURM_PROCID='0', SLURM_NTASKS='3'), '1/3'),
    (None, ARRAY, '1/1'),
])
def test_where_it_is_said(text, environment, expected):
    assert str(parse_shard(text, environment)) == expected


@pytest.mark.parametrize('text,message', [
    ('0/3', 'from 1 to N'), ('4/3', 'from 1 to N'), ('1/0', 'from 1 to N'),
    ('half', 'must be I/N'), ('auto', 'neither torchrun nor SLURM')
])
def test_nonsense(text, message):
    with pytest.raises(ValueError, match=message):
        parse_shard(text, {})


# ------------------------------------------------------------------ one folder
def claimed(folder, shard=Shard(), ids='abc', **settings):
    paths = {i: [folder / f'{i}.png'] for i in ids}
    return RunFolder(folder, paths, settings, shard).claimed()


def test_who_may_work_at_once(tmp_path):
    with claimed(tmp_path, Shard(1, 3)):
        with claimed(tmp_path, Shard(2, 3)):
            pass
        for other in (Shard(1, 3), Shard()):
            with pytest.raises(ValueError, match='Another run'):
                with claimed(tmp_path, other):
                    pass
    # What is left behind is no run.
    (tmp_path / 'b.png').touch()
    with claimed(tmp_path) as todo:
        assert todo == ['a', 'c'] and (tmp_path / LOCK).exists()


def test_a_shard_waits_until_a_whole_run_ends(tmp_path, monkeypatch):
    monkeypatch.setattr('mmwsss.utils.run_folder.PATIENCE', 0.1)
    with claimed(tmp_path), pytest.raises(ValueError, match='Another run'):
        with claimed(tmp_path, Shard(1, 2)):
            pass


def test_temporary_files_of_others_stay(tmp_path):
    names = ['.a.tmp-1.png', '.b.tmp-2.png', '.a.b.tmp-3.png']
    for name in names:
        (tmp_path / name).touch()
    with claimed(tmp_path, Shard(1, 3)) as todo:
        assert todo == ['a']
    assert sorted(f for f in os.listdir(tmp_path)
                  if f.endswith('.png')) == sorted(names[1:])


# ---------------------------------------------------------------- refine_cams
@pytest.mark.slow
def test_shards_of_refine_give_the_same(setup, tmp_path):  # noqa: F811
    config = setup.config()
    setup.run(config, out=tmp_path / 'whole')
    for i in (3, 1, 2):
        result = setup.run(config, '--shard', f'{i}/3')
        assert result.num_images == result.num_written == 2
        assert (setup.out / 'manifest.json').is_file() == (i == 2)
    assert_complete(setup.out)
    assert contents(setup.out) == contents(tmp_path / 'whole')
    whole, ours = (read_json(f / 'manifest.json')
                   for f in (tmp_path / 'whole', setup.out))
    assert whole == ours and ours['num_images'] == NUM
    # Other settings: refused by every shard, replaced by the first.
    other = setup.config(steps="dict(type='mmwsss.ThresholdMask', "
                         "threshold=0.7), dict(type='mmwsss.SaveMask')")
    with pytest.raises(ValueError, match='other settings'):
        setup.run(other, '--shard', '2/3')
    old = contents(setup.out)
    setup.run(other, '--shard', '2/3', '--overwrite')
    assert len(contents(setup.out)) == 2
    setup.run(other, '--shard', '1/3', '--overwrite')
    assert len(contents(setup.out)) == 4
    assert not (setup.out / 'manifest.json').exists()
    setup.run(other, '--shard', '3/3', '--overwrite')
    assert_complete(setup.out)
    assert all(old[k] != v for k, v in contents(setup.out).items())


def read_json(path):
    return json.loads(path.read_text())


@pytest.mark.slow
def test_three_processes_and_a_kill(setup, tmp_path):  # noqa: F811
    """One hangs and is killed; the others end, and it continues."""
    # The fifth image is the second one of the second share.
    config = setup.wrong('hang', 'train_00004')
    command = [*setup.command(config)[:-1], '1']

    def start(i, **environment):
        return subprocess.Popen(
            [*command, *(['--shard', f'{i}/3'] if not environment else [])],
            env=dict(ENV, **environment),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True)

    # Two are told by --shard, one by its environment.
    shards = [
        start(1),
        start(2),
        start(3, RANK='2', WORLD_SIZE='3', TORCHELASTIC_RUN_ID='x')
    ]
    try:
        note = tmp_path / 'note'
        until = time.time() + 600
        while not note.exists() and time.time() < until:
            time.sleep(0.1)
        assert note.exists()
        for shard in (shards[0], shards[2]):
            output = shard.communicate(timeout=600)[0].decode()
            assert shard.returncode == 0, output
            assert 'of other shards are not there yet' in output
        os.killpg(shards[1].pid, signal.SIGKILL)
        shards[1].communicate(timeout=60)
    finally:
        for shard in shards:
            if shard.poll() is None:
                os.killpg(shard.pid, signal.SIGKILL)
                shard.communicate()
    there = [name for name in contents(setup.out) if '.tmp-' not in name]
    assert len(there) in (4, 5)
    assert not (setup.out / 'manifest.json').exists()
    # The step leaves a temporary file of no image; a run of all cleans up.
    again = setup.run(config, '--shard', '2/3')
    assert 1 <= again.num_written <= 2
    assert (setup.out / 'manifest.json').is_file()
    again = setup.run(config)
    assert again.num_written == 0
    assert_complete(setup.out)
    setup.run(setup.config(), out=tmp_path / 'whole')
    assert contents(setup.out) == contents(tmp_path / 'whole')


# ----------------------------------------------------------------------- infer
LABELS = {f'i{n}': [n % 2] for n in range(7)}


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp('home')
    data = make_voc(folder / 'data', LABELS)
    (data / 'JPEGImages/i3.jpg').write_bytes(b'broken')
    config, weights = save(make_cfg(data, folder / 'run', []), folder)
    return folder, data / 'JPEGImages', config, weights


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob('[!.]*.*'))
        if p.suffix in ('.npz', '.png', '.jpg')
    }


def test_shards_of_infer_give_the_same(home, tmp_path):
    """Also where an image is broken, which nobody else waits for."""
    _, images, config, weights = home
    inferencer = CAMInferencer(
        config, weights, device='cpu', show_progress=False)

    def run(out, shard=Shard()):
        return list(
            inferencer.stream(
                str(images), batch_size=1, out_dir=tmp_path / out,
                on_error='skip', shard=shard))

    run('whole')
    for i in (2, 3, 1):
        found = run('shards', Shard(i, 3))
        assert len(found) == (3 if i == 1 else 2)
        done = (tmp_path / 'shards/cams/manifest.json').is_file()
        assert done == (i == 1)
    assert files(tmp_path / 'shards') == files(tmp_path / 'whole')
    whole, ours = (read_manifest(tmp_path / f / 'cams')
                   for f in ('whole', 'shards'))
    assert whole['skipped'] == ours['skipped'] == ['i3']
    assert {k: v for k, v in whole.items()} == ours
    # A file that gets lost is made again by its shard.
    (tmp_path / 'shards/masks/i1.png').unlink()
    run('shards', Shard(1, 3))
    assert not (tmp_path / 'shards/masks/i1.png').exists()
    run('shards', Shard(2, 3))
    assert files(tmp_path / 'shards') == files(tmp_path / 'whole')
    assert np.isin('i3', read_manifest(tmp_path / 'shards/cams')['skipped'])


def test_infer_takes_a_shard(home, tmp_path, monkeypatch):
    _, images, config, weights = home
    ask = dict(skip_broken=True, device='cpu')
    done = infer(config, weights, images, tmp_path / 'o', shard='2/3', **ask)
    assert done[1:] == (2, 0) and set(files(tmp_path / 'o/masks')) == {
        'i1.png', 'i4.png'}
    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    done = infer(config, weights, images, tmp_path / 'p', **ask)
    assert files(tmp_path / 'p/masks') == files(tmp_path / 'o/masks')


def test_three_processes_of_infer_and_a_kill(home, tmp_path, monkeypatch):
    _, images, config, weights = home
    inferencer = CAMInferencer(
        config, weights, device='cpu', show_progress=False)

    def run(out, shard=Shard()):
        for _ in inferencer.stream(
                str(images), batch_size=1, out_dir=tmp_path / out,
                on_error='skip', shard=shard):
            pass

    run('whole')
    slowly(monkeypatch, Output, 'write')
    kill_one(lambda i: run('out', Shard(i, 3)),
             tmp_path / 'out/cams', 'i0.npz')
    assert not (tmp_path / 'out/masks/manifest.json').exists()
    run('out', Shard(1, 3))
    assert files(tmp_path / 'out') == files(tmp_path / 'whole')
    assert (tmp_path / 'out/masks/manifest.json').is_file()


def test_three_processes_of_refine_and_a_kill(
        setup, tmp_path, monkeypatch):  # noqa: F811
    """Like the one above; the pool works in the process that is killed."""

    def run_here(infos, pipeline, workers, scope, imports, on_done):
        steps = Compose(pipeline)
        for info in infos:
            steps(info)
            on_done(info['img_id'])

    monkeypatch.setattr('mmwsss.apis.refine.run_pool', run_here)
    config = setup.config()
    setup.run(config, out=tmp_path / 'whole')
    slowly(monkeypatch, SaveMask, 'write')
    kill_one(lambda i: setup.run(config, '--shard', f'{i}/3'),
             setup.out, 'train_00000.png')
    assert not (setup.out / 'manifest.json').exists()
    assert setup.run(config, '--shard', '1/3').num_written == 1
    assert_complete(setup.out)
    assert contents(setup.out) == contents(tmp_path / 'whole')


def slowly(monkeypatch, owner, name):
    """Let writing take so long that a kill falls between two images."""
    write = getattr(owner, name)

    def slow(*args):
        write(*args)
        time.sleep(1)

    monkeypatch.setattr(owner, name, slow)


def kill_one(run, folder, first):
    """Three processes at work; the first is killed after its first image."""
    context = multiprocessing.get_context('fork')
    shards = [context.Process(target=run, args=(i, )) for i in (1, 2, 3)]
    for shard in shards:
        shard.start()
    until = time.time() + 300
    while not (folder / first).is_file() and time.time() < until:
        time.sleep(0.01)
    os.kill(shards[0].pid, signal.SIGKILL)
    for shard in shards:
        shard.join(300)
    assert [s.exitcode for s in shards] == [-signal.SIGKILL, 0, 0]
