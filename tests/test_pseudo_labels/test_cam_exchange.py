"""CAMs of other code bases: files written the way these write them."""
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.pseudo_labels import CAMFile, read_cam, read_manifest, write_cam
from mmwsss.pseudo_labels.cam_exchange import (
    convert_file,
    find_files,
    read_foreign,
    write_foreign,
)
from tests.toy import ROOT

SIZE = (9, 13)
STRIDED = (3, 4)
RNG = np.random.default_rng(0)


def random(k, size=SIZE):
    return RNG.random((k, *size)).astype(np.float32)


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, content)
    return path


def read(path, form, **kwargs):
    return read_foreign(path, form, 'a', trust_pickle=True, **kwargs)


def test_read_irn(tmp_path):
    high = random(2)
    path = save(
        tmp_path / 'a.npy',
        dict(
            keys=torch.tensor([7, 3]),
            cam=torch.from_numpy(random(2, STRIDED)),
            high_res=high))
    found = read(path, 'irn')
    assert found.class_ids.tolist() == [3, 7]
    assert found.image_size == SIZE
    assert np.array_equal(found.cam, high[::-1])


def test_read_irn_class_less(tmp_path):
    path = save(
        tmp_path / 'a.npy',
        dict(
            keys=torch.zeros(0, dtype=torch.int64),
            cam=torch.zeros(0, *STRIDED),
            high_res=np.zeros((0, *SIZE), np.float32)))
    found = read(path, 'irn')
    assert found.cam.shape == (0, *SIZE) and found.image_size == SIZE


def test_read_irn_strided_only(tmp_path):
    low = random(1, STRIDED)
    path = save(tmp_path / 'a.npy', dict(keys=np.array([2]), cam=low))
    with pytest.raises(ValueError, match='image a .*--images'):
        read(path, 'irn')
    Image.new('RGB', SIZE[::-1]).save(tmp_path / 'a.jpg')
    found = read(path, 'irn', images=tmp_path)
    assert found.image_size == SIZE and np.array_equal(found.cam, low)


def test_read_psa(tmp_path):
    one, two = random(2)
    path = save(tmp_path / 'a.npy', {14: one, 3: two})
    found = read(path, 'psa')
    assert found.class_ids.tolist() == [3, 14]
    assert np.array_equal(found.cam, np.stack((two, one)))


def test_read_seam(tmp_path):
    # (x - min - 1e-5) / (max - min + 1e-5): slightly below 0, and -1
    # everywhere for a class without any activation.
    raw = random(1)[0]
    scaled = (raw - raw.min() - 1e-5) / (raw.max() - raw.min() + 1e-5)
    nothing = np.full(SIZE, (0 - 0 - 1e-5) / 1e-5, np.float32)
    assert scaled.min() < 0 and nothing.min() <= -1
    path = save(tmp_path / 'a.npy', {0: nothing, 1: scaled})
    found = read(path, 'psa')
    assert not found.cam[0].any()
    assert np.array_equal(found.cam[1], np.maximum(scaled, 0))


def test_read_psa_class_less(tmp_path):
    path = save(tmp_path / 'a.npy', {})
    with pytest.raises(ValueError, match='image a .*--images'):
        read(path, 'psa')
    with pytest.raises(ValueError, match='none of this name'):
        read(path, 'psa', images=tmp_path)
    Image.new('L', SIZE[::-1]).save(tmp_path / 'a.png')
    assert read(path, 'psa', images=tmp_path).cam.shape == (0, *SIZE)


@pytest.mark.parametrize('form,content', [
    ('irn', {3: np.zeros(SIZE)}),
    ('irn', dict(keys=[1], cam=np.zeros(SIZE), high_res=np.zeros(SIZE))),
    ('irn', dict(keys=[1], high_res=np.zeros((2, *SIZE)))),
    ('irn', dict(keys=['cat'], high_res=np.zeros((1, *SIZE)))),
    ('irn', np.zeros((1, *SIZE))),
    ('irn', 'text'),
    ('psa', dict(keys=[1], high_res=np.zeros((1, *SIZE)))),
    ('psa', {0: np.zeros(SIZE), 1: np.zeros((2, 2))}),
    ('psa', {0: np.full(SIZE, 7.)}),
    ('psa', {0: np.full(SIZE, -7.)}),
    ('psa', {0: np.full(SIZE, np.nan)}),
    ('psa', {0: np.full(SIZE, 'x')}),
    ('psa', [1, 2]),
])
def test_foreign_content(tmp_path, form, content):
    path = save(tmp_path / 'a.npy', content)
    with pytest.raises(ValueError, match='image a'):
        read(path, form)


@pytest.mark.parametrize('keep', [0, 60, 200])
def test_damaged(tmp_path, keep):
    path = save(tmp_path / 'a.npy', {0: random(1)[0]})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match='image a'):
        read(path, 'psa')


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def test_pickles_are_not_loaded_unasked(tmp_path):
    path = save(tmp_path / 'a.npy', {0: Bomb(tmp_path / 'boom')})
    with pytest.raises(ValueError, match='image a .*--trust-pickle'):
        read_foreign(path, 'psa', 'a')
    assert not (tmp_path / 'boom').exists()


def test_write_irn(tmp_path):
    cam = random(2)
    path = write_foreign(tmp_path, 'irn',
                         CAMFile('a', np.array([3, 14]), cam, SIZE))
    content = np.load(path, allow_pickle=True).item()
    # What make_sem_seg_labels and cam_to_ir_label do with it.
    assert np.pad(content['keys'] + 1, (1, 0)).tolist() == [0, 4, 15]
    assert isinstance(content['cam'], torch.Tensor)
    assert content['cam'].shape == (2, *STRIDED)
    assert np.array_equal(content['high_res'], cam)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(cam)[None], STRIDED, mode='bilinear')[0]
    assert torch.equal(content['cam'], expected)


def test_write_psa_small_maps(tmp_path):
    path = write_foreign(
        tmp_path, 'psa', CAMFile('a', np.array([3]), random(1, STRIDED), SIZE))
    content = np.load(path, allow_pickle=True).item()
    assert list(content) == [3] and content[3].shape == SIZE


@pytest.mark.parametrize('form', ['irn', 'psa'])
@pytest.mark.parametrize('ids', [[], [5], [0, 19]])
def test_there_and_back(tmp_path, form, ids):
    cam = random(len(ids)).astype(np.float16)
    path = write_cam(tmp_path / 'ours', 'x/a', ids, cam, SIZE)
    Image.new('L', SIZE[::-1]).save(tmp_path / 'a.png')
    there = convert_file(path, 'x/a', 'mmwsss', tmp_path / 'there', form)
    assert there == tmp_path / 'there/x/a.npy'
    back = convert_file(
        there, 'a', form, tmp_path / 'back', 'mmwsss', True, images=tmp_path)
    found = read_cam(back)
    assert found.class_ids.tolist() == ids and found.image_size == SIZE
    assert np.array_equal(found.cam, cam.astype(np.float32))


def test_find_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder'):
        find_files(tmp_path / 'x', 'irn')
    with pytest.raises(FileNotFoundError, match='no .npy file'):
        find_files(tmp_path, 'irn')
    for name in ('b/c.npy', 'a.npy', '.a.tmp-1.npy', 'd.npz'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [i for i, _ in find_files(tmp_path, 'irn')] == ['a', 'b/c']


def tool(*arguments):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'tools/convert_cams.py',
         *arguments],
        env=dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True)


def test_tool(tmp_path):
    for img_id in ('a', 'b'):
        save(tmp_path / f'irn/{img_id}.npy',
             dict(keys=np.array([1]), high_res=random(1)))
    arguments = (tmp_path / 'irn', tmp_path / 'ours', '--from', 'irn', '--to',
                 'mmwsss')
    refused = tool(*arguments)
    assert refused.returncode == 1
    assert refused.stderr.strip().startswith('error: ')
    assert '--trust-pickle' in refused.stderr
    done = tool(*arguments, '--trust-pickle')
    assert done.returncode == 0, done.stderr
    assert read_cam(tmp_path / 'ours/b.npz').class_ids.tolist() == [1]
    assert read_manifest(tmp_path / 'ours')['num_images'] == 2
