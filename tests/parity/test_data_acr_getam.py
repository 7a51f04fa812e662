"""Resizing, placing and normalising of training and test images."""
import numpy as np
import torch

from mmwsss.datasets.transforms.resize import (
    MEAN_BGR,
    PlaceCrop,
    long_side_size,
    place,
    placement_bounds,
    resize_float,
)
from mmwsss.utils.image import denormalize

FAMILIES = ('data_acr_getam', )
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


def normalize(bgr: np.ndarray) -> np.ndarray:
    rgb = bgr[..., ::-1].astype(np.float32)
    return ((rgb - MEAN) / STD).transpose(2, 0, 1)


def picture(normalized: np.ndarray) -> np.ndarray:
    seen = denormalize(
        torch.from_numpy(normalized), MEAN.tolist(), STD.tolist())
    return seen.numpy()


def test_training_image(vector):
    size = int(vector['crop_size'])
    low, high = (int(v) for v in vector['long_range'])
    assert low <= int(vector['target_long']) <= high
    image = vector['image_bgr']
    shape = long_side_size(image.shape[:2], int(vector['target_long']))
    image = resize_float(image, shape)
    if vector['flip']:
        image = image[:, ::-1]

    # The recorded offsets are x first, and a start inside a larger image.
    bounds = [placement_bounds(side, size) for side in shape]
    assert [max(-b[0], b[1]) + 1 for b in bounds
            ] == vector['offset_bounds_xy'][::-1].tolist()
    offset = tuple(
        int(-o if b[0] < 0 else o)
        for o, b in zip(vector['offsets_xy'][::-1], bounds))
    image = place(image, size, offset, MEAN_BGR)
    ours = normalize(image)
    np.testing.assert_allclose(ours, vector['train_image'], atol=1e-5)
    valid = place(np.ones(shape, np.uint8), size, offset, 0)
    np.testing.assert_array_equal(valid, vector['train_valid_mask'])
    if 'saliency' in vector:
        saliency = resize_float(vector['saliency'], shape, nearest=True)
        if vector['flip']:
            saliency = saliency[:, ::-1]
        saliency = place(saliency, size, offset, 0)
        np.testing.assert_array_equal(
            saliency > 0, vector['train_saliency'] > 0)
    np.testing.assert_array_equal(
        picture(vector['train_image']), vector['train_ori_uint8'])

    # The registered transform does the same with its own random offset.
    np.random.seed(0)
    results = PlaceCrop(size).transform(
        dict(img=resize_float(vector['image_bgr'], shape)))
    assert results['img'].shape == (size, size, 3)
    assert results['valid_mask'].sum() == valid.sum()


def test_inference_image(vector):
    size = int(vector['crop_size'])
    image = resize_float(vector['image_bgr'], (size, size))
    np.testing.assert_allclose(
        normalize(image), vector['infer_image_square_resize'], atol=1e-5)
    # Where the training crop went through float32, this one did not.
    exact = resize_float(vector['image_bgr'].astype(np.float64), (size, size))
    exact = (exact[..., ::-1] / 255 - (MEAN / 255).round(3)) / (
        (STD / 255).round(3))
    exact = exact.transpose(2, 0, 1)
    np.testing.assert_array_equal(picture(exact), vector['infer_ori_uint8'])
