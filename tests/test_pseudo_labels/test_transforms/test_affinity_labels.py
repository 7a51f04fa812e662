import functools

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS
from PIL import Image

from mmwsss.datasets.transforms import (
    ColorJitter,
    PackWSSSInputs,
    PlaceCrop,
    RandomFlip,
    RandomRescale,
)
from mmwsss.pseudo_labels.cam_file import write_cam
from mmwsss.pseudo_labels.transforms import (
    AffinityLabel,
    DownscaleLabel,
    LoadPseudoMask,
    LoadScores,
)
from mmwsss.pseudo_labels.transforms.affinity_labels import confident_planes
from tests.test_datasets.builders import save_mask

SIZE = (40, 56)


def sample(**kwargs):
    rng = np.random.default_rng(0)
    return dict(
        img=rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        img_id='pic',
        ori_shape=SIZE,
        img_shape=SIZE,
        gt_label=np.array([1, 4]),
        num_classes=5,
        **kwargs)


def write_scores(tmp_path, ids=(1, 4), size=SIZE, seed=0):
    rng = np.random.default_rng(seed)
    planes = {}
    for name in ('low', 'high'):
        scores = rng.dirichlet(np.ones(len(ids) + 1), size)
        planes[name] = scores.transpose(2, 0, 1).astype(np.float32)
        write_cam(tmp_path / name, 'pic', ids, planes[name][1:], size)
    return planes


def load_scores(tmp_path):
    """The step, on samples that name the folders."""
    folders = dict(
        low_score_dir=tmp_path / 'low', high_score_dir=tmp_path / 'high')
    return lambda results: LoadScores()({**results, **folders})


# -------------------------------------------------------------- label rule
def test_rule_cell_by_cell():
    rng = np.random.default_rng(0)
    low, high = rng.random((2, 3, 24, 32)).astype(np.float32)
    low[:, :8, :8] = high[:, :8, :8] = 0
    low[0, 8:16] = 3
    high[0, 8:16, :16] = 3
    high[1, 8:16, 16:] = 3
    label = confident_planes(low, high)
    assert label.shape == (3, 4) and label.dtype == np.uint8
    for y in range(3):
        for x in range(4):
            cell = (slice(None), slice(8 * y, 8 * y + 8),
                    slice(8 * x, 8 * x + 8))
            strict = low[cell].mean((1, 2))
            loose = high[cell].mean((1, 2))
            if max(strict.max(), loose.max()) < 1e-5:
                expected = 255
            elif loose.argmax() == 0:
                expected = 0
            else:
                expected = strict.argmax() or 255
            assert label[y, x] == expected, (y, x)
    assert set(label[1]) == {0, 255} and label[0, 0] == 255


def test_one_plane_is_all_background():
    ones = np.ones((1, 16, 16), np.float32)
    assert np.array_equal(confident_planes(ones, ones), np.zeros((2, 2)))
    assert np.array_equal(
        confident_planes(0 * ones, 0 * ones), np.full((2, 2), 255))


def test_crop_must_divide():
    with pytest.raises(ValueError, match='20x16 pixels .* 8x8'):
        confident_planes(np.ones((1, 20, 16)), np.ones((1, 20, 16)))


# ----------------------------------------------------------------- scores
def test_load_scores(tmp_path):
    planes = write_scores(tmp_path)
    results = load_scores(tmp_path)(sample())
    for name in ('low', 'high'):
        scores = results[f'{name}_scores']
        assert scores.dtype == np.float32 and scores.shape == (3, *SIZE)
        assert np.abs(scores - planes[name]).max() < 1e-3
        assert scores.min() >= 0
    assert results['class_ids'].tolist() == [1, 4]


def test_image_without_class(tmp_path):
    write_scores(tmp_path, ids=())
    results = AffinityLabel()(load_scores(tmp_path)(sample()))
    assert np.array_equal(results['gt_seg_map'], np.zeros((5, 7)))


def test_scores_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="'pic'.*refine_cams.py"):
        load_scores(tmp_path)(sample())
    write_scores(tmp_path, size=(8, 8))
    with pytest.raises(ValueError, match='image pic .*8 x 8'):
        load_scores(tmp_path)(sample())
    write_scores(tmp_path, ids=(1, 7))
    with pytest.raises(ValueError, match='image pic.*0..4'):
        load_scores(tmp_path)(sample())
    write_scores(tmp_path)
    write_cam(tmp_path / 'high', 'pic', [1], np.zeros((1, *SIZE)), SIZE)
    with pytest.raises(ValueError, match=r"'pic'.*\[1, 4\].*\[1\]"):
        load_scores(tmp_path)(sample())
    write_cam(tmp_path / 'high', 'pic', [1], np.zeros((1, 5, 7)), SIZE)
    with pytest.raises(ValueError, match="'pic'.*full size"):
        load_scores(tmp_path)(sample())


def test_whole_chain_stays_aligned(tmp_path):
    """Scores show where the image is bright, before and after the chain."""
    bright = np.zeros(SIZE, np.uint8)
    bright[4:30, 6:25] = 1
    for name in ('low', 'high'):
        write_cam(tmp_path / name, 'pic', [2], bright[None].astype(float),
                  SIZE)
    chain = [
        load_scores(tmp_path),
        PlaceCrop(64, pad_val=(0, 0, 0)),
        RandomFlip(prob=0.5),
        AffinityLabel(),
        PackWSSSInputs()
    ]
    flips = set()
    for seed in range(12):
        np.random.seed(seed)
        results = sample()
        results['img'] = np.repeat(bright[..., None] * 200 + 20, 3, 2)
        results['img'][0] = 20
        for transform in chain:
            results = transform(results)
        image = results['inputs'][0].float().numpy()
        data_sample = results['data_samples']
        flips.add(data_sample.get('flip'))
        label = data_sample.gt_sem_seg.data[0].numpy()
        assert label.shape == (8, 8)
        cells = image.reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(
            8, 8, 64)
        assert (label[(cells > 100).all(2)] == 1).all()
        # Black is outside of the image: no score, no label.
        assert (label[(cells == 0).all(2)] == 255).all()
        assert (label[((cells > 0) & (cells < 100)).all(2)] == 0).all()
        assert set(np.unique(label)) == {0, 1, 255}
    assert flips == {True, False}


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip_takes_planes_along(direction):
    planes = np.arange(2 * 40 * 56).reshape(2, *SIZE)
    results = sample(
        planes=planes,
        plane_fields=['planes'],
        gt_seg_map=planes[0].astype(np.int32),
        seg_fields=['gt_seg_map'])
    results = RandomFlip(prob=1.0, direction=direction)(results)
    assert np.array_equal(results['planes'][0], results['gt_seg_map'])
    assert np.array_equal(results['planes'][1] - results['planes'][0],
                          np.full(SIZE, 40 * 56))
    assert not np.array_equal(results['planes'], planes)


# ------------------------------------------------------------------ masks
def test_load_pseudo_mask(tmp_path):
    mask = np.zeros(SIZE, np.uint8)
    mask[3:9], mask[20:] = 5, 255
    load = LoadPseudoMask()
    found = functools.partial(sample, mask_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="'pic'.*refine_cams.py"):
        load(found())
    save_mask(tmp_path / 'pic.png', mask)
    results = load(found())
    assert np.array_equal(results['gt_seg_map'], mask)
    assert results['seg_fields'] == ['gt_seg_map']
    results = LoadPseudoMask(key='seed_map')(found())
    assert np.array_equal(results['seed_map'], mask)
    assert results['seg_fields'] == ['seed_map']
    assert 'gt_seg_map' not in results
    with pytest.raises(ValueError, match="'seeds'"):
        LoadPseudoMask(key='seeds')
    mask[0, 0] = 6
    save_mask(tmp_path / 'pic.png', mask)
    with pytest.raises(ValueError, match='pic.*6'):
        load(found())
    save_mask(tmp_path / 'pic.png', mask[:9])
    with pytest.raises(ValueError, match=r"'pic'.*\(40, 56\).*\(9, 56\)"):
        load(found())
    with pytest.raises(ValueError, match="Image pic: .*Set its mask_dir"):
        load(sample())


def test_downscale_takes_the_middle():
    mask = np.arange(64 * 48, dtype=np.int64).reshape(64, 48) % 251
    results = DownscaleLabel(4)(dict(gt_seg_map=mask.astype(np.uint8)))
    assert np.array_equal(results['gt_seg_map'], mask[2::4, 2::4])
    # Any other size rounds.
    results = DownscaleLabel(4)(dict(gt_seg_map=np.ones((1, 30), np.uint8)))
    assert results['gt_seg_map'].shape == (1, 8)


def test_rescale_is_joint():
    seen = set()
    for seed in range(8):
        np.random.seed(seed)
        image = np.zeros((*SIZE, 3), np.uint8)
        image[:20, :, 2] = 200
        mask = (image[..., 2] > 0).astype(np.uint8)
        results = RandomRescale(0.5, 1.5)(
            dict(
                img=image,
                gt_seg_map=mask,
                seg_fields=['gt_seg_map'],
                planes=mask[None].astype(np.float32),
                plane_fields=['planes']))
        h, w = results['img_shape']
        seen.add(h)
        assert results['img'].shape == (h, w, 3)
        assert results['gt_seg_map'].shape == (h, w)
        assert results['planes'].shape == (1, h, w)
        assert 20 <= h <= 60 and abs(h / w - 40 / 56) < 0.05
        assert set(np.unique(results['gt_seg_map'])) == {0, 1}
        # Red stays red, and the border stays at half height.
        assert results['img'][..., :2].max() == 0
        red = results['img'][..., 2] > 100
        assert (red == results['gt_seg_map']).mean() > 0.95
        assert (red == (results['planes'][0] > 0.5)).mean() > 0.95
    assert len(seen) > 3
    with pytest.raises(ValueError, match='0 < low <= high'):
        RandomRescale(1.5, 0.5)


def test_rescale_keeps_the_image_type():
    for dtype in (np.uint8, np.float32):
        results = sample()
        results['img'] = results['img'].astype(dtype)
        expected = Image.fromarray(results['img'].astype(np.uint8)).resize(
            (56, 40), Image.Resampling.BICUBIC)
        results = RandomRescale(1, 1)(results)
        assert results['img'].dtype == dtype
        assert np.array_equal(results['img'], np.asarray(expected))


def test_color_jitter():
    grey = sample()
    grey['img'][:] = 100
    torch.manual_seed(0)
    brightness = {
        int(ColorJitter(0.3, 0, 0, 0)(dict(grey))['img'][0, 0, 0])
        for _ in range(20)
    }
    assert len(brightness) > 10
    assert 70 <= min(brightness) < max(brightness) <= 130
    # Channels keep their order, and the type stays.
    red = sample()
    red['img'] = np.zeros((*SIZE, 3), np.float32)
    red['img'][..., 2] = 200
    result = ColorJitter(0, 0, 0, 0)(red)['img']
    assert result.dtype == np.float32 and np.array_equal(result, red['img'])
    # Hue alone keeps the brightest channel's value.
    torch.manual_seed(1)
    hue = ColorJitter(0, 0, 0, 0.1)(red)['img']
    assert hue[..., 2].min() == 200 and hue[..., :2].max() > 0
    # The same seed, the same colours.
    torch.manual_seed(3)
    first = ColorJitter()(sample())['img']
    torch.manual_seed(3)
    assert np.array_equal(first, ColorJitter()(sample())['img'])
    assert not np.array_equal(first, sample()['img'])


def test_packing_of_class_maps():
    results = sample(
        cams=np.random.rand(2, *SIZE), class_ids=np.array([1, 4]))
    packed = PackWSSSInputs()(results)['data_samples']
    assert packed.cams.dtype == torch.float32
    assert packed.cams.shape == (2, *SIZE)
    assert packed.class_ids.tolist() == [1, 4]
    assert packed.class_ids.dtype == torch.int64
    empty = sample(cams=np.zeros((0, *SIZE)), class_ids=np.zeros(0, int))
    packed = PackWSSSInputs()(empty)['data_samples']
    assert packed.cams.shape == (0, *SIZE)
    # Tensors follow the sample to its device.
    assert packed.to('meta').cams.device.type == 'meta'


def test_registered():
    for name in ('LoadScores', 'LoadPseudoMask', 'AffinityLabel',
                 'DownscaleLabel', 'RandomRescale', 'ColorJitter'):
        built = TRANSFORMS.build(dict(type=f'mmwsss.{name}'))
        assert repr(built).startswith(name)
    flip = TRANSFORMS.build(dict(type='mmwsss.RandomFlip', prob=0.5))
    assert isinstance(flip, RandomFlip)
