import cv2
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from PIL import Image

from mmwsss.datasets.transforms import (
    PlaceCrop,
    RandomLongSideResize,
    RandomSquareCrop,
    SquareResize,
)
from mmwsss.datasets.transforms.resize import MEAN_BGR

SIZES = [(1, 1), (10, 4000), (4000, 10), (50, 70), (33, 33)]


def sample(size, **kwargs):
    rng = np.random.default_rng(0)
    return dict(
        img=rng.integers(0, 256, (*size, 3), dtype=np.uint8), **kwargs)


@pytest.mark.parametrize('size', SIZES)
def test_chain_gives_a_square(size):
    results = sample(
        size,
        gt_seg_map=np.ones(size, np.uint8),
        gt_saliency=np.ones(size, np.uint8),
        seg_fields=['gt_seg_map', 'gt_saliency'])
    for transform in (RandomLongSideResize(57, 73),
                      TRANSFORMS.build(dict(type='mmseg.RandomFlip', prob=1.)),
                      PlaceCrop(64)):
        results = transform(results)
    assert results['img'].shape == (64, 64, 3)
    assert results['img'].dtype == np.float32
    assert results['img_shape'] == (64, 64)
    valid = results['valid_mask'] > 0
    assert valid.any()
    assert np.array_equal(results['gt_seg_map'], np.where(valid, 1, 255))
    assert np.array_equal(results['gt_saliency'], valid)
    assert np.allclose(results['img'][~valid], MEAN_BGR)


def test_long_side_range_is_inclusive():
    transform = RandomLongSideResize(3, 5)
    sides = set()
    for _ in range(60):
        shape = transform(sample((6, 12)))['img'].shape[:2]
        assert shape[0] == round(shape[1] / 2)
        sides.add(shape[1])
    assert sides == {3, 4, 5}
    with pytest.raises(ValueError, match='1 <= low <= high'):
        RandomLongSideResize(5, 4)


@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
def test_bicubic_long_side(dtype):
    """Just what Pillow gives for the RGB picture."""
    results = sample((30, 40), gt_seg_map=np.eye(30, 40, dtype=np.uint8))
    picture = Image.fromarray(results['img'][..., ::-1])
    results['img'] = results['img'].astype(dtype)
    results['seg_fields'] = ['gt_seg_map']
    out = RandomLongSideResize(20, 20, interpolation='bicubic')(results)
    expected = np.asarray(picture.resize((20, 15), Image.Resampling.BICUBIC))
    assert out['img'].dtype == dtype
    assert np.array_equal(out['img'], expected[..., ::-1])
    assert out['gt_seg_map'].shape == out['img_shape'] == (15, 20)
    assert out['scale_factor'] == (0.5, 0.5)
    with pytest.raises(ValueError, match="interpolation is 'lanczos'"):
        RandomLongSideResize(1, 2, interpolation='lanczos')


def test_no_rounding():
    results = SquareResize(17)(sample((20, 30)))
    exact = cv2.resize(
        sample((20, 30))['img'].astype(np.float64), (17, 17))
    assert np.abs(results['img'] - exact).max() < 1e-4
    assert (results['img'] % 1 != 0).mean() > 0.5
    assert results['scale_factor'] == (17 / 30, 17 / 20)


@pytest.mark.parametrize('size', SIZES)
def test_square_resize_keeps_masks(size):
    mask = np.ones(size, np.uint8)
    results = SquareResize(32)(
        sample(size, gt_seg_map=mask, seg_fields=['gt_seg_map']))
    assert results['img'].shape == (32, 32, 3)
    assert results['gt_seg_map'].shape == size
    assert results['seg_fields'] == ['gt_seg_map']


def test_place_crop_moves_everything_alike():
    # An image whose mask is its own red channel stays that way.
    for size in ((10, 10), (40, 40), (10, 40)):
        image = np.arange(size[0] * size[1]).reshape(size) % 250
        results = dict(
            img=image[..., None].repeat(3, 2).astype(np.float32),
            gt_seg_map=image.astype(np.uint8),
            seg_fields=['gt_seg_map'])
        for _ in range(5):
            out = PlaceCrop(20)(dict(results))
            valid = out['valid_mask'] > 0
            assert valid.sum() == min(size[0], 20) * min(size[1], 20)
            assert np.array_equal(out['img'][..., 0][valid],
                                  out['gt_seg_map'][valid])
            assert (out['gt_seg_map'][~valid] == 255).all()


def test_offsets_cover_all_places():
    corners = set()
    for _ in range(200):
        out = PlaceCrop(4)(dict(img=np.zeros((2, 6, 3), np.float32)))
        rows = out['valid_mask'][:, 0].nonzero()[0]
        corners.add(int(rows[0]))
        assert out['valid_mask'].sum() == 8
    assert corners == {0, 1, 2}


@pytest.mark.parametrize('size', SIZES)
def test_square_crop(size):
    results = RandomSquareCrop(32)(
        sample(size, gt_seg_map=np.ones(size), seg_fields=['gt_seg_map']))
    assert results['img'].shape == (32, 32, 3)
    assert results['gt_seg_map'].shape == (32, 32)
    with pytest.raises(ValueError, match='RandomSquareCrop'):
        RandomSquareCrop(32, scale=(0.5, 1.5))


def test_seed_decides():
    outputs = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        results = sample((50, 70))
        for transform in (RandomLongSideResize(57, 73), PlaceCrop(64)):
            results = transform(results)
        outputs.append(results['img'])
    assert np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])
