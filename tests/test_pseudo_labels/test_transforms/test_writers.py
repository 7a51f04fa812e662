"""Writers: files as named by ``paths``, whole or not at all."""
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image

from mmwsss.datasets import ImageLevelDataset
from mmwsss.pseudo_labels import read_cam, read_manifest, write_cam
from mmwsss.pseudo_labels.transforms import SaveCAMs, SaveMask, SaveScores
from tests.test_datasets.builders import METAINFO, make_voc

from .test_crf import SIZE, sample


def files(folder):
    return sorted(
        p.relative_to(folder).as_posix() for p in Path(folder).rglob('*')
        if p.is_file())


def test_save_cams(tmp_path):
    writer = SaveCAMs(str(tmp_path))
    results = sample()
    assert writer(results) is results
    assert writer.paths('a') == [tmp_path / 'a.npz']
    found = read_cam(tmp_path / 'a.npz')
    assert found.class_ids.tolist() == [0, 2] and found.image_size == SIZE
    np.testing.assert_allclose(found.cam, results['cams'], atol=2.5e-4)


def test_save_small_cams(tmp_path):
    results = sample() | dict(ori_shape=(24, 30))
    SaveCAMs(str(tmp_path))(results)
    assert read_cam(tmp_path / 'a.npz').image_size == (24, 30)


def test_save_scores(tmp_path):
    writer = SaveScores(alphas=(4, .5), out_dir=str(tmp_path))
    rng = np.random.default_rng(0)
    scores = {
        a: rng.dirichlet((1, 1, 1), SIZE).transpose(2, 0, 1)
        for a in (4, .5)
    }
    writer(sample() | dict(crf_scores=scores, img_id='b/c'))
    assert files(tmp_path) == ['alpha0.5/b/c.npz', 'alpha4/b/c.npz']
    assert [p.is_file() for p in writer.paths('b/c')] == [True, True]
    for alpha in (4, .5):
        found = read_cam(tmp_path / f'alpha{alpha:g}' / 'b/c.npz')
        np.testing.assert_allclose(found.cam, scores[alpha][1:], atol=2.5e-4)
        np.testing.assert_allclose(
            1 - found.cam.sum(axis=0), scores[alpha][0], atol=1e-3)
    with pytest.raises(ValueError, match='Image a: .*Add what is missing'):
        writer(sample() | dict(crf_scores={4: scores[4]}))
    # There may be more, for other steps.
    SaveScores((4, ), str(tmp_path / 'one'))(
        sample() | dict(crf_scores=scores))
    assert files(tmp_path / 'one') == ['alpha4/a.npz']


def test_save_mask(tmp_path):
    palette = [[1, 2, 3], [4, 5, 6]]
    mask = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint8) % 2
    mask[0, 0] = 255
    writer = SaveMask(str(tmp_path), palette=palette)
    writer(sample() | dict(pseudo_mask=mask))
    assert writer.paths('a') == [tmp_path / 'a.png']
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.mode == 'P'
        assert picture.getpalette()[:6] == [1, 2, 3, 4, 5, 6]
        assert np.array_equal(np.array(picture), mask)


@pytest.mark.parametrize('writer', [SaveCAMs, SaveScores, SaveMask])
def test_nothing_to_write(tmp_path, writer):
    with pytest.raises(KeyError, match='Image a: there is no'):
        writer(out_dir=str(tmp_path))(dict(img_id='a'))
    assert files(tmp_path) == []


@pytest.mark.parametrize('writer', [SaveCAMs, SaveMask])
def test_disk_full(tmp_path, monkeypatch, writer):
    # Half of the content arrives, then the disk is full.
    def fail(path, *args, **kwargs):
        Path(path).write_bytes(b'half')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, 'savez_compressed', fail)
    monkeypatch.setattr(Image.Image, 'save', lambda _, p: fail(p))
    results = sample() | dict(pseudo_mask=np.zeros(SIZE, np.uint8))
    with pytest.raises(OSError, match='No space left'):
        writer(str(tmp_path))(results)
    assert files(tmp_path) == []


def test_manifests(tmp_path):
    SaveScores(alphas=(4, ), out_dir=str(tmp_path)).finish(num_images=3)
    assert read_manifest(tmp_path / 'alpha4')['num_images'] == 3
    SaveMask(str(tmp_path / 'm')).finish(num_images=3)
    assert 'mmwsss-masks' in (tmp_path / 'm/manifest.json').read_text()


def test_in_a_usual_pipeline(tmp_path):
    # Without the tool: reading the dataset writes the masks.
    root = make_voc(tmp_path / 'data', {'a': [0], 'b': [], 'c': [0, 1]})
    rng = np.random.default_rng(0)
    for img_id, label in (('a', [0]), ('b', []), ('c', [0, 1])):
        write_cam(tmp_path / 'cams', img_id, label,
                  rng.random((len(label), 20, 30)), (20, 30))
    dataset = ImageLevelDataset(
        data_root=str(root),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        cam_dir=str(tmp_path / 'cams'),
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadCAMs'),
            dict(type='mmwsss.CRFScores'),
            dict(type='mmwsss.SaveScores', out_dir=str(tmp_path / 'out')),
            dict(type='mmwsss.IRNLabel'),
            dict(type='mmwsss.SaveMask', out_dir=str(tmp_path / 'out/irn')),
        ])
    assert isinstance(dataset.pipeline, Compose)
    for i in range(len(dataset)):
        dataset[i]
    assert files(tmp_path / 'out') == sorted(
        f'{folder}/{i}' for folder, suffix in (('alpha4', 'npz'), (
            'alpha24', 'npz'), ('irn', 'png'))
        for i in (f'a.{suffix}', f'b.{suffix}', f'c.{suffix}'))
