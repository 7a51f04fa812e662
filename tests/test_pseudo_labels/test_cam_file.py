"""CAM files: round trip and every way to be wrong."""
import json
import zipfile

import numpy as np
import pytest

from mmwsss.pseudo_labels import (
    cam_path,
    read_cam,
    read_manifest,
    write_cam,
    write_manifest,
)


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((2, 5, 7), dtype=np.float32)


def test_round_trip(tmp_path, maps):
    path = write_cam(tmp_path / 'new', '2007_000032', [3, 19], maps, (5, 7))
    assert path == cam_path(tmp_path / 'new', '2007_000032')
    assert [p.name for p in path.parent.iterdir()] == ['2007_000032.npz']
    cam = read_cam(path, num_classes=20, image_size=(5, 7))
    assert cam.img_id == '2007_000032'
    assert cam.class_ids.tolist() == [3, 19]
    assert cam.class_ids.dtype == np.int64
    assert cam.cam.dtype == np.float32
    np.testing.assert_allclose(cam.cam, maps, atol=2.5e-4)
    assert cam.image_size == (5, 7)


def test_stored_types(tmp_path, maps):
    path = write_cam(tmp_path, 'a', np.array([0, 1]), maps, (50, 70))
    with np.load(path, allow_pickle=False) as arrays:
        assert {k: arrays[k].dtype.name for k in arrays.files} == dict(
            class_ids='int16', cam='float16', image_size='int32')


@pytest.mark.parametrize('ids', [[], np.zeros(0), np.zeros(0, np.int64)])
def test_class_less(tmp_path, ids):
    path = write_cam(tmp_path, 'empty', ids, np.zeros((0, 4, 6)), (4, 6))
    cam = read_cam(path, num_classes=20, image_size=(4, 6))
    assert cam.class_ids.shape == (0, )
    assert cam.cam.shape == (0, 4, 6)


def test_dots_and_folders_in_names(tmp_path, maps):
    path = write_cam(tmp_path, 'cats/img.v2', [0, 1], maps, (5, 7))
    assert path == tmp_path / 'cats' / 'img.v2.npz'
    assert read_cam(path).img_id == 'img.v2'


@pytest.mark.parametrize('img_id', ['../x', '/x', '', 'a/../../x'])
def test_name_outside_folder(tmp_path, maps, img_id):
    with pytest.raises(ValueError, match='does not name a file inside'):
        write_cam(tmp_path, img_id, [0, 1], maps, (5, 7))


@pytest.mark.parametrize('ids, change, size, match', [
    ([1], lambda m: m, (5, 7), '1 class_ids for 2 maps'),
    ([1, 1], lambda m: m, (5, 7), r'class_ids \[1, 1\] repeat'),
    ([-1, 1], lambda m: m, (5, 7), 'class_ids'),
    ([1, 70000], lambda m: m, (5, 7), 'class_ids'),
    ([1., 2.], lambda m: m, (5, 7), 'list of integers'),
    ([1, 2], lambda m: m[0], (5, 7), r'\(classes, height, width\)'),
    ([1, 2], lambda m: m > 0, (5, 7), 'must be floats'),
    ([1, 2], lambda m: m + 1, (5, 7), r'must lie in \[0, 1\]'),
    ([1, 2], lambda m: m * np.nan, (5, 7), r'must lie in \[0, 1\]'),
    ([1, 2], lambda m: m, (5, 0), 'image_size'),
    ([1, 2], lambda m: m, (5, 7, 3), 'image_size'),
    ([1, 2], lambda m: m[:, :0], (5, 7), 'no pixel'),
])
def test_refuses_to_write(tmp_path, maps, ids, change, size, match):
    with pytest.raises(ValueError, match=match) as error:
        write_cam(tmp_path, 'dog7', ids, change(maps), size)
    assert 'image dog7' in str(error.value)
    assert not list(tmp_path.iterdir())


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='image b .*test.py'):
        read_cam(tmp_path / 'b.npz')


def test_damaged(tmp_path, maps):
    path = write_cam(tmp_path, 'dog7', [0, 1], maps, (5, 7))
    whole = path.read_bytes()
    for content in (b'', b'PK', whole[:100], whole[:-30], b'hello' * 20,
                    whole[:120] + b'XXXXXXXX' + whole[128:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='image dog7'):
            read_cam(path)


def test_no_pickles(tmp_path):
    np.save(
        tmp_path / 'dog7.npy', {3: np.zeros((2, 2))}, allow_pickle=True)
    with pytest.raises(ValueError, match='image dog7.npy .*no CAM file'):
        read_cam(tmp_path / 'dog7.npy')
    np.savez(
        tmp_path / 'dog7.npz',
        cam=np.array([None]),
        class_ids=np.zeros(1),
        image_size=np.ones(2))
    with pytest.raises(ValueError, match='image dog7 .*no CAM file'):
        read_cam(tmp_path / 'dog7.npz')


def test_missing_key(tmp_path):
    np.savez(tmp_path / 'dog7.npz', cam=np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="dog7 .*lack .*'class_ids'"):
        read_cam(tmp_path / 'dog7.npz')


def test_foreign_content(tmp_path):
    # A correct zip whose arrays break the format.
    path = tmp_path / 'dog7.npz'
    good = dict(
        class_ids=np.zeros(1, np.int16),
        cam=np.zeros((1, 2, 2), np.float16),
        image_size=np.full(2, 2, np.int32))
    for key, value, match in (
        ('cam', np.full((1, 2, 2), np.nan, np.float16), 'must lie in'),
        ('cam', np.zeros((2, 2), np.float16), 'classes, height, width'),
        ('cam', np.full((1, 2, 2), 1.5, np.float16), 'must lie in'),
        ('class_ids', np.full(1, 20, np.int16), r'in 0\.\.19'),
        ('image_size', np.full(3, 2, np.int32), 'height and width')):
        np.savez(path, **{**good, key: value})
        with pytest.raises(ValueError, match=f'image dog7.*{match}'):
            read_cam(path, num_classes=20)


def test_other_image_size(tmp_path, maps):
    path = write_cam(tmp_path, 'dog7', [0, 1], maps, (5, 7))
    with pytest.raises(ValueError, match='5 x 7 .* has 7 x 5'):
        read_cam(path, image_size=(7, 5))


def test_failed_write_keeps_the_old(tmp_path, maps, monkeypatch):
    path = write_cam(tmp_path, 'a', [0, 1], maps, (5, 7))

    def broken(file, **arrays):
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('cam.npy', b'half')
        raise OSError('disk full')

    monkeypatch.setattr(np, 'savez_compressed', broken)
    with pytest.raises(OSError, match='disk full'):
        write_cam(tmp_path, 'a', [0, 1], maps * 0, (5, 7))
    assert [p.name for p in tmp_path.iterdir()] == ['a.npz']
    assert read_cam(path).cam.max() > 0


def test_manifest(tmp_path):
    with pytest.raises(FileNotFoundError, match='did not end'):
        read_manifest(tmp_path)
    write_manifest(tmp_path, config='a.py', num_images=3, path=tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest['num_images'] == 3
    assert manifest['format'] == 'mmwsss-cams'
    assert manifest['path'] == str(tmp_path)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(ValueError, match='is not JSON'):
        read_manifest(tmp_path)
    (tmp_path / 'manifest.json').write_text('[]')
    with pytest.raises(ValueError, match='does not say format'):
        read_manifest(tmp_path)
    (tmp_path / 'manifest.json').write_text(
        json.dumps(dict(format='mmwsss-cams', version=2)))
    with pytest.raises(ValueError, match='version 2'):
        read_manifest(tmp_path)
