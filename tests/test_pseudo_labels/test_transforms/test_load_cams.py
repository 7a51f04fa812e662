"""LoadCAMs against an interpolation written out, and all that can be wrong."""
import numpy as np
import pytest

from mmwsss.pseudo_labels import cam_path, write_cam
from mmwsss.pseudo_labels.transforms import LoadCAMs
from mmwsss.registry import TRANSFORMS

SIZE = (6, 8)


def sample(**facts):
    return dict(img_id='a', ori_shape=SIZE, num_classes=4) | facts


def maps(k, size=SIZE, seed=0):
    return np.random.default_rng(seed).random((k, *size)).astype(np.float16)


def enlarge(plane, size):
    """Bilinear with pixel centers, the border repeated."""
    out = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            weight = 0.
            total = 0.
            v = np.clip((y + .5) * plane.shape[0] / size[0] - .5, 0,
                        plane.shape[0] - 1)
            u = np.clip((x + .5) * plane.shape[1] / size[1] - .5, 0,
                        plane.shape[1] - 1)
            for i in range(plane.shape[0]):
                for j in range(plane.shape[1]):
                    w = max(1 - abs(v - i), 0) * max(1 - abs(u - j), 0)
                    weight += w
                    total += w * plane[i, j]
            out[y, x] = total / weight
    return out


def test_classes_ascend(tmp_path):
    cam = maps(2)
    write_cam(tmp_path, 'a', [3, 1], cam, SIZE)
    load = TRANSFORMS.build(dict(type='mmwsss.LoadCAMs'))
    out = load(sample(cam_dir=tmp_path, gt_label=np.array([1, 3])))
    assert out['class_ids'].tolist() == [1, 3]
    assert out['class_ids'].dtype == np.int64
    assert out['cams'].dtype == np.float32
    assert np.array_equal(out['cams'], cam[::-1].astype(np.float32))


def test_upsampling(tmp_path):
    cam = maps(1, (3, 4))
    write_cam(tmp_path, 'a', [2], cam, SIZE)
    out = LoadCAMs()(sample(cam_dir=tmp_path))
    np.testing.assert_allclose(
        out['cams'][0], enlarge(cam[0].astype(float), SIZE), atol=1e-6)
    out = LoadCAMs(upsample=False)(sample(cam_dir=tmp_path))
    assert out['cams'].shape == (1, 3, 4)


@pytest.mark.parametrize('size', [SIZE, (2, 2)])
def test_class_less(tmp_path, size):
    write_cam(tmp_path, 'a', [], np.zeros((0, *size)), SIZE)
    out = LoadCAMs()(
        sample(cam_dir=tmp_path, gt_label=np.zeros(0, np.int64)))
    assert out['cams'].shape == (0, *SIZE)
    assert out['class_ids'].shape == (0, )


def test_without_tags(tmp_path):
    write_cam(tmp_path, 'b/a', [0], maps(1), SIZE)
    out = LoadCAMs()(dict(img_id='b/a', cam_dir=tmp_path))
    assert out['cams'].shape == (1, *SIZE)


def test_absent_classes(tmp_path):
    # A file that has a zero map for every absent class.
    cam = np.zeros((4, *SIZE), np.float32)
    cam[2] = .5
    write_cam(tmp_path, 'a', [0, 1, 2, 3], cam, SIZE)
    out = LoadCAMs()(sample(cam_dir=tmp_path, gt_label=np.array([1, 2])))
    assert out['class_ids'].tolist() == [1, 2]
    assert not out['cams'][0].any() and (out['cams'][1] == .5).all()


@pytest.mark.parametrize('tags', [[], [0], [0, 1, 2], [0, 2]])
def test_other_tags(tmp_path, tags):
    write_cam(tmp_path, 'a', [0, 1], maps(2), SIZE)
    with pytest.raises(ValueError, match=r'Image a: .*of classes \[0, 1\]'):
        LoadCAMs()(
            sample(cam_dir=tmp_path, gt_label=np.array(tags, np.int64)))


def test_unset_and_missing(tmp_path):
    with pytest.raises(
            ValueError, match='Image a: LoadCAMs .*Set its cam_dir'):
        LoadCAMs()(sample())
    with pytest.raises(
            FileNotFoundError, match='image a .*tools/test.py CONFIG'):
        LoadCAMs()(sample(cam_dir=tmp_path))


def test_does_not_fit(tmp_path):
    write_cam(tmp_path, 'a', [3], maps(1), SIZE)
    load = LoadCAMs()
    with pytest.raises(ValueError, match='image a .*6 x 8.*5 x 8'):
        load(sample(cam_dir=tmp_path, ori_shape=(5, 8)))
    with pytest.raises(ValueError, match=r'image a .*: class_ids \[3\]'):
        load(sample(cam_dir=tmp_path, num_classes=3))


def _cut(path):
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])


def _flip(path):
    data = bytearray(path.read_bytes())
    for i in range(60, len(data) - 200, 7):
        data[i] ^= 255
    path.write_bytes(data)


def _nan(path):
    np.savez(
        path,
        class_ids=np.array([0], np.int16),
        cam=np.full((1, *SIZE), np.nan, np.float16),
        image_size=np.array(SIZE, np.int32))


def _pickle(path):
    with path.open('wb') as file:
        np.save(file, {'keys': [0]}, allow_pickle=True)


def _foreign(path):
    np.savez(path, arr_0=np.zeros(3))


def _objects(path):
    np.savez(
        path,
        class_ids=np.array([None]),
        cam=np.zeros((1, *SIZE)),
        image_size=np.array(SIZE))


@pytest.mark.parametrize('spoil', [
    _cut, _flip, _nan, _pickle, _foreign, _objects,
    lambda p: p.write_bytes(b''), lambda p: p.write_text('text')
])
def test_damaged(tmp_path, spoil):
    write_cam(tmp_path, 'a', [0], maps(1), SIZE)
    spoil(cam_path(tmp_path, 'a'))
    with pytest.raises(ValueError, match='image a'):
        LoadCAMs()(sample(cam_dir=tmp_path))


def test_folder_in_place_of_file(tmp_path):
    cam_path(tmp_path, 'a').mkdir()
    with pytest.raises(FileNotFoundError, match='image a'):
        LoadCAMs()(sample(cam_dir=tmp_path))


def test_id_that_leaves_the_folder(tmp_path):
    with pytest.raises(ValueError, match='does not name a file'):
        LoadCAMs()(sample(cam_dir=tmp_path, img_id='../a'))
