"""Several machines fill one cache of features."""
import os
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mmwsss.apis.cache_features import cache_features
from tests.toy import ROOT

from ..test_engine.frozen_run import SIZES, make_cfg, make_data, train

ENV = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))


@pytest.fixture
def home(tmp_path):
    """A config with two networks, of which one gives two maps."""
    make_data(tmp_path)
    cfg = make_cfg(tmp_path, tmp_path / 'run', cache=True, epochs=1)
    cfg.test_dataloader = dict(
        batch_size=1, dataset=cfg.train_dataloader.dataset,
        sampler=dict(type='DefaultSampler', shuffle=False))
    cfg.custom_imports = dict(imports=['tests.test_models.frozen_builders'],
                              allow_failed_imports=False)
    cfg.dump(tmp_path / 'config.py')
    return tmp_path


def run(home, shard=None, **kwargs):
    return cache_features(home / 'config.py', shard, 'cpu', **kwargs)


def entries(home):
    return {
        p.relative_to(home).as_posix(): p.read_bytes()
        for p in sorted(home.glob('cache?/*/[!.]*.npy'))
    }


@pytest.mark.slow
def test_shares_make_what_a_training_reads(home):
    maps = len(SIZES) * 2
    assert run(home, '1/3')[:2] == (2, 4)
    assert len(entries(home)) == 4
    assert run(home, '3/3').num_images == 1
    assert run(home, '2/3').num_written == 4
    assert run(home).num_written == 0  # Nothing is left for a run of all.
    ahead = entries(home)
    assert len(ahead) == maps
    before = {p: p.stat().st_mtime_ns
              for p in home.glob('cache?/*/*.npy')}
    weights = train(home, home / 'run', cache=True, epochs=1).model
    # The training found every one, and computes with the same numbers as
    # one that finds none.
    assert entries(home) == ahead
    assert before == {p: p.stat().st_mtime_ns
                      for p in home.glob('cache?/*/*.npy')}
    for path in home.glob('cache?/*/*.npy'):
        path.unlink()
    again = train(home, home / 'again', cache=True, epochs=1).model
    assert entries(home) == ahead
    for key, value in weights.state_dict().items():
        assert np.array_equal(value, again.state_dict()[key]), key


def test_errors(home, monkeypatch):
    with pytest.raises(ValueError, match='must be I/N'):
        run(home, '4/3')
    options = {f'model.backbone.networks.{i}.cache_dir': None
               for i in range(2)}
    with pytest.raises(ValueError, match='no frozen network|No frozen'):
        run(home, cfg_options=options)
    (home / 'JPEGImages/a.jpg').write_bytes(b'x')
    with pytest.raises(ValueError, match="Image 'a'.*corrupt"):
        run(home)
    main = runpy.run_path(str(ROOT / 'tools/cache_features.py'))['main']
    monkeypatch.setattr(sys, 'argv', ['x', str(home / 'none.py')])
    with pytest.raises(SystemExit, match='error: There is no config'):
        main()


@pytest.mark.slow
def test_three_processes_and_a_kill(home, tmp_path):
    """One is killed while it writes; the same command goes on."""
    hang = home / 'hang.py'
    hang.write_text(
        'import sys, runpy, time\n'
        'import mmwsss.utils.feature_cache as module\n'
        'write, count = module.FeatureCache._write, []\n'
        'def slow(self, key, array):\n'
        '    count.append(key)\n'
        '    if len(count) == 2:\n'
        f'        open({str(home / "note")!r}, "w").close()\n'
        '        time.sleep(600)\n'
        '    write(self, key, array)\n'
        'module.FeatureCache._write = slow\n'
        f'sys.argv[0] = {str(ROOT / "tools/cache_features.py")!r}\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n')

    def start(script, *more, **environment):
        return subprocess.Popen(
            [sys.executable, '-W', 'ignore', script, home / 'config.py',
             '--device', 'cpu', *more],
            env=dict(ENV, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    tool = ROOT / 'tools/cache_features.py'
    shards = [
        start(tool, '--shard', '1/3'),
        start(hang, '--shard', '2/3'),
        # As torchrun starts it.
        start(tool, RANK='2', WORLD_SIZE='3', TORCHELASTIC_RUN_ID='x')
    ]
    try:
        until = time.time() + 300
        while not (home / 'note').exists() and time.time() < until:
            time.sleep(0.1)
        assert (home / 'note').exists()
        for shard in (shards[0], shards[2]):
            output = shard.communicate(timeout=300)[0].decode()
            assert shard.returncode == 0, output
        shards[1].send_signal(signal.SIGKILL)
        shards[1].communicate(timeout=60)
    finally:
        for shard in shards:
            if shard.poll() is None:
                shard.kill()
                shard.communicate()
    assert len(entries(home)) == 4 + 1 + 2
    again = start(tool, '--shard', '2/3')
    output = again.communicate(timeout=300)[0].decode()
    assert '2 image(s), 3 new map(s)' in output, output
    several = entries(home)
    for path in home.glob('cache?/*/*.npy'):
        path.unlink()
    run(home)
    assert entries(home) == several and len(several) == len(SIZES) * 2
