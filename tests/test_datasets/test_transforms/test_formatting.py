import numpy as np
import pytest
import torch
from mmseg.models import SegDataPreProcessor

from mmwsss.datasets.transforms import PackWSSSInputs
from mmwsss.datasets.transforms.resize import MEAN_BGR


def results(**kwargs):
    return dict(
        img=np.zeros((4, 6, 3), np.float32),
        img_id='im1',
        img_path='x/im1.jpg',
        ori_shape=(8, 9),
        img_shape=(4, 6),
        gt_label=np.array([0, 2]),
        num_classes=3,
        **kwargs)


def test_training_sample():
    packed = PackWSSSInputs()(results())
    assert packed['inputs'].shape == (3, 4, 6)
    assert packed['inputs'].dtype == torch.float32
    sample = packed['data_samples']
    assert sample.gt_label.label.tolist() == [0, 2]
    assert sample.gt_label.label.dtype == torch.int64
    assert sample.gt_label.score.tolist() == [1, 0, 1]
    assert sample.gt_label.score.dtype == torch.float32
    assert sample.img_id == 'im1' and sample.ori_shape == (8, 9)
    assert 'gt_sem_seg' not in sample and 'valid_mask' not in sample


def test_class_less_and_uint8():
    content = results()
    content.update(
        gt_label=np.zeros(0, np.int64), img=np.zeros((4, 6, 3), np.uint8))
    packed = PackWSSSInputs()(content)
    label = packed['data_samples'].gt_label
    assert label.label.shape == (0, ) and label.label.dtype == torch.int64
    assert label.score.tolist() == [0, 0, 0]
    assert packed['inputs'].dtype == torch.uint8


def test_masks():
    mask = np.full((8, 9), 255, np.uint8)
    sample = PackWSSSInputs()(results(
        gt_seg_map=mask,
        valid_mask=np.ones((4, 6), np.uint8),
        gt_saliency=np.ones((4, 6), np.float32),
        seed_map=mask))['data_samples']
    assert sample.gt_sem_seg.data.shape == (1, 8, 9)
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert sample.seed_sem_seg.data.shape == (1, 8, 9)
    assert sample.seed_sem_seg.data.dtype == torch.int64
    assert sample.valid_mask.data.dtype == torch.bool
    assert sample.gt_saliency.data.shape == (1, 4, 6)


def test_no_image():
    with pytest.raises(KeyError, match='im1 was not loaded'):
        PackWSSSInputs()(dict(img_id='im1'))


def test_mean_colour_becomes_zero():
    content = results()
    content['img'][:] = MEAN_BGR
    preprocessor = SegDataPreProcessor(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(4, 6))
    packed = PackWSSSInputs()(content)
    batch = preprocessor(
        {k: [v]
         for k, v in packed.items()}, training=True)
    assert (batch['inputs'] == 0).all()
