"""Features on disk: whole or absent, of one network, the same numbers."""
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.backbones.frozen_features import FrozenBackbone
from mmwsss.utils import feature_cache
from mmwsss.utils.feature_cache import FeatureCache, image_key
from tests.test_models.frozen_builders import pictures, toy_network

ROOT = Path(__file__).resolve().parents[2]
#: Fills a cache, again and again, until it is ended.
WRITER = """
import sys, torch
from mmwsss.utils.feature_cache import FeatureCache
torch.set_num_threads(1)
cache = FeatureCache(sys.argv[1], 'abc')
print('ready', flush=True)
for i in range(int(sys.argv[2])):
    value = torch.full((64, 40, 40), float(i % 50))
    cache.put(f'{i % 50:02d}', value)
"""


def entries(folder):
    return sorted(folder.rglob('[!.]*.npy'))


def test_key_is_the_content():
    image = pictures(3, 6, 9)
    keys = {
        image_key(x)
        for x in (image, image.flip(-1), image[..., 1:], image.mT, image + 1,
                  image.reshape(3, 9, 6), torch.zeros(3, 6, 9))
    }
    assert len(keys) == 7
    assert all(len(key) == 32 for key in keys)
    # Not of how it lies in the memory, nor of its type.
    assert image_key(image.mT.contiguous().mT) == image_key(image)
    assert image_key(image.byte()) == image_key(image)


def test_what_is_put_is_what_is_got(tmp_path):
    cache = FeatureCache(tmp_path / 'c', 'abc', dict(network='toy'))
    assert not (tmp_path / 'c').exists()  # Reading makes no folder.
    assert cache.get('0123') is None
    values = torch.randn(3, 4, 5)
    put = cache.put('0123', values)
    assert put.dtype == torch.float32
    assert torch.equal(put, values.half().float())
    assert torch.equal(cache.get('0123'), put)
    assert np.load(cache.path('0123')).dtype == np.float16
    # Beyond half precision.
    large = torch.tensor([[[1e6, 1.5]]])
    assert torch.equal(cache.put('0124', large), large)
    assert torch.equal(cache.get('0124'), large)
    manifest = json.loads((tmp_path / 'c' / 'manifest.json').read_text())
    assert manifest['digest'] == 'abc'
    assert manifest['facts'] == dict(network='toy')
    assert FeatureCache(tmp_path / 'c', 'abc').get('0123') is not None


def test_of_another_network(tmp_path):
    FeatureCache(tmp_path, 'abc', dict(long_side=1)).put('00', torch.ones(
        1, 1, 1))
    with pytest.raises(ValueError, match=f'{tmp_path} .*digest abc.*long_side'
                       '.*digest def.*Delete the folder'):
        FeatureCache(tmp_path, 'def')
    # Also if the other one began after this one was opened.
    late = FeatureCache(tmp_path / 'new', 'def')
    FeatureCache(tmp_path / 'new', 'abc').put('00', torch.ones(1, 1, 1))
    with pytest.raises(ValueError, match='of another network'):
        late.put('01', torch.ones(1, 1, 1))


@pytest.mark.parametrize('text, match', [
    ('', 'is damaged'), ('{"format": "mmwss', 'is damaged'),
    ('[]', 'no manifest'), ('null', 'no manifest'), ('{}', 'no manifest'),
    ('{"format": "mmwsss-features", "version": 99}', 'no manifest')])
def test_damaged_manifest(tmp_path, text, match):
    (tmp_path / 'manifest.json').write_text(text)
    with pytest.raises(ValueError, match=f'manifest.json (is )?{match}'):
        FeatureCache(tmp_path, 'abc')


@pytest.mark.parametrize('damage', [
    b'', b'x', b'PK\3\4', None, 'short'])
def test_damaged_entry_is_written_again(tmp_path, damage):
    cache = FeatureCache(tmp_path, 'abc')
    value = cache.put('0a', torch.randn(2, 3, 3))
    path = cache.path('0a')
    if damage is None:  # An array of objects, which a load could execute.
        np.save(path, np.array([{}, 1], dtype=object), allow_pickle=True)
    elif damage == 'short':
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.write_bytes(damage)
    assert cache.get('0a') is None
    assert not path.exists()
    cache.put('0a', value)
    assert torch.equal(cache.get('0a'), value)


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path, monkeypatch, code):
    cache = FeatureCache(tmp_path, 'abc')
    values = [torch.randn(2, 3, 3) for _ in range(4)]
    expected = [v.half().float() for v in values]
    assert torch.equal(cache.put('00', values[0]), expected[0])
    said = []
    monkeypatch.setattr(feature_cache, 'print_log',
                        lambda text, **kwargs: said.append(text))

    def full(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(feature_cache, 'atomic_write', full)
        for i in (1, 2):
            assert torch.equal(cache.put(f'0{i}', values[i]), expected[i])
    assert len(said) == 1
    assert f'disk is full: {tmp_path}' in said[0] and 'cache_dir' in said[0]
    # It is not tried again; what is there is read.
    cache.put('03', values[3])
    assert cache.get('03') is None and cache.get('01') is None
    assert torch.equal(cache.get('00'), expected[0])
    assert not list(tmp_path.rglob('.*'))


def test_other_errors_are_not_swallowed(tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path, 'abc')

    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, 'no', str(tmp_path))

    monkeypatch.setattr(feature_cache, 'atomic_write', refused)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        cache.put('00', torch.ones(1, 1, 1))
    (tmp_path / 'file').write_text('')
    monkeypatch.undo()
    with pytest.raises(NotADirectoryError, match='file is a file'):
        FeatureCache(tmp_path / 'file' / 'c', 'abc').put(
            '00', torch.ones(1, 1, 1))


def test_somebody_else_takes_temporary_files_away(tmp_path, monkeypatch):
    """Another run on the same cache cleans up when it starts."""
    cache = FeatureCache(tmp_path, 'abc')
    cache.put('00', torch.ones(1, 1, 1))
    original = feature_cache.atomic_write

    def cleaned(path):
        manager = original(path)

        class Manager:

            def __enter__(self):
                self.temp = manager.__enter__()
                return self.temp

            def __exit__(self, *args):
                self.temp.unlink()
                return manager.__exit__(*args)

        return Manager()

    monkeypatch.setattr(feature_cache, 'atomic_write', cleaned)
    value = torch.randn(1, 2, 2)
    assert torch.equal(cache.put('01', value), value.half().float())
    monkeypatch.undo()
    assert cache.get('01') is None
    cache.put('01', value)
    assert cache.get('01') is not None


FULL = """
import resource, signal, sys, torch
from mmwsss.utils.feature_cache import FeatureCache
cache = FeatureCache(sys.argv[1], 'abc')
cache.put('00', torch.ones(2, 3, 3))
# The system itself now refuses to write more than this into a file.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
value = torch.randn(64, 10, 10)
assert torch.equal(cache.put('01', value), value.half().float())
assert cache.full and cache.get('01') is None
"""


def run(script, *arguments):
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', script,
         *map(str, arguments)],
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True)


def test_a_disk_that_is_really_full(tmp_path):
    """numpy reports a short write without any error number."""
    process = run(FULL, tmp_path)
    out, error = process.communicate()
    assert process.returncode == 0, error
    assert 'disk is full' in out + error
    assert [p.name for p in entries(tmp_path)] == ['00.npy']
    assert not list(tmp_path.rglob('.*'))


def check_whole(folder):
    for path in entries(folder):
        value = np.load(path)
        assert value.shape == (64, 40, 40)
        assert (value == float(path.stem)).all()
    if entries(folder):
        FeatureCache(folder, 'abc')


def kill_and_check(folder, repeats):
    for repeat in range(repeats):
        process = run(WRITER, folder, 10**6)
        assert process.stdout.readline() == 'ready\n', process.stderr.read()
        time.sleep(0.02 + 0.07 * repeat)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        check_whole(folder)
    assert entries(folder)


def test_killed_while_writing(tmp_path):
    kill_and_check(tmp_path, 1)


@pytest.mark.slow
def test_killed_many_times(tmp_path):
    kill_and_check(tmp_path, 12)


@pytest.mark.slow
def test_two_processes_fill_one_cache(tmp_path):
    both = [run(WRITER, tmp_path, 150) for _ in range(2)]
    for process in both:
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert len(entries(tmp_path)) == 50
    check_whole(tmp_path)
    assert not list(tmp_path.rglob('.*'))


# ---------------------------------------------------- behind a network
def count_runs(monkeypatch):
    runs = []
    run_network = FrozenBackbone._run

    def counted(self, image):
        runs.append(len(image))
        return run_network(self, image)

    monkeypatch.setattr(FrozenBackbone, '_run', counted)
    return runs


def test_features_with_and_without(tmp_path, monkeypatch):
    network = toy_network(tmp_path)
    runs = count_runs(monkeypatch)
    images = pictures(3, 3, 16, 24)
    plain = FrozenBackbone(**network)(images)
    cached = FrozenBackbone(**network, cache_dir=str(tmp_path / 'cache'))
    first = cached(images)
    assert_close(first, plain, rtol=1e-3, atol=1e-6)
    assert torch.equal(first, plain.half().float())
    assert torch.equal(cached(images), first)
    again = FrozenBackbone(**network, cache_dir=str(tmp_path / 'cache'))
    assert torch.equal(again(images), first)
    assert runs == [3, 3]
    # Only what is not there is computed.
    mixed = torch.cat((images[:1], images[1:2].flip(-1), images[2:]))
    found = again(mixed)
    assert runs == [3, 3, 1]
    assert torch.equal(found[0], first[0]) and torch.equal(
        found[2], first[2])
    flipped = FrozenBackbone(**network)(images[1:2].flip(-1))
    assert torch.equal(found[1:2], flipped.half().float())
    # A crop or a scale is an image of its own.
    again(images[..., :16, :16])
    assert runs[3:] == [1, 3]
    assert len(entries(tmp_path / 'cache')) == 3 + 1 + 3


def test_maps_of_one_network_share_a_folder(tmp_path, monkeypatch):
    network = toy_network(tmp_path)
    folder = str(tmp_path / 'cache')
    images = pictures(2, 3, 16, 16)
    both = FrozenBackbone(
        **dict(network, out_index=(0, 1), channels=9), cache_dir=folder)
    expected = both(images)
    runs = count_runs(monkeypatch)
    one = FrozenBackbone(**network, cache_dir=folder)
    assert torch.equal(one(images), expected[:, :6])
    assert not runs


@pytest.mark.parametrize('change', ['weights', 'rule'])
def test_cache_of_another_network(tmp_path, change):
    network = toy_network(tmp_path)
    folder = str(tmp_path / 'cache')
    image = pictures(1, 3, 8, 8)
    FrozenBackbone(**network, cache_dir=folder)(image)
    other = toy_network(tmp_path, 1) if change == 'weights' else dict(
        network, long_side=8)
    other = FrozenBackbone(**other, cache_dir=folder)
    for _ in range(2):  # Not only the first time.
        with pytest.raises(ValueError, match=f'{folder} holds features of '
                           'another network.*digest.*digest.*cache_dir'):
            other(image)


def test_damaged_entry_behind_a_network(tmp_path):
    network = toy_network(tmp_path)
    cached = FrozenBackbone(**network, cache_dir=str(tmp_path / 'cache'))
    images = pictures(2, 3, 8, 8)
    first = cached(images)
    path = entries(tmp_path / 'cache')[0]
    path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(cached(images), first)
    assert np.load(path).shape == (6, 2, 2)


def test_full_disk_behind_a_network(tmp_path, monkeypatch):
    network = toy_network(tmp_path)
    images = pictures(4, 3, 8, 8)
    expected = FrozenBackbone(**network)(images).half().float()
    cached = FrozenBackbone(**network, cache_dir=str(tmp_path / 'cache'))
    cached(images[:1])

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(feature_cache, 'atomic_write', full)
    for _ in range(2):
        assert torch.equal(cached(images), expected)
    assert len(entries(tmp_path / 'cache')) == 1
