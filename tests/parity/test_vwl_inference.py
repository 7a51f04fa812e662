"""VWL's CAMs fused over mirror images and scales, and their scores."""
import json

import numpy as np
import torch
from numpy.testing import assert_allclose

from mmwsss.apis.score_masks import mask_confusion
from mmwsss.evaluation.functional import curve_from_confusion
from mmwsss.models.localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_maps,
)
from mmwsss.models.segmentors.cam_segmentor import cams_to_mask

FAMILIES = ('vwl_cam_fusion', 'vwl_scores')


def test_vwl_inference(vector):
    if 'label20' in vector:
        check_fusion(vector)
    else:
        check_scores(vector)


def check_fusion(vector):
    meta = json.loads(str(vector['meta']))
    size = tuple(meta['size'])
    keys = torch.from_numpy(np.flatnonzero(vector['label20']))
    assert keys.tolist() == vector['keys'].tolist()
    views = []
    for i in range(len(meta['scales'])):
        plain, mirrored = torch.from_numpy(vector[f'net_cam_{i}'])[:, keys]
        views.append(fuse_maps((plain, mirrored.flip(-1)), 'max'))

    def fused(size):
        maps = fuse_maps([resize_maps(v, size, False) for v in views], 'sum')
        return normalize_maps(maps, 'max', 1e-5)

    strided = [(s - 1) // 4 + 1 for s in size]
    for name, maps in (('strided_cam', fused(strided)),
                       ('high_res', fused(size))):
        assert len(maps) == len(vector[name])
        if len(keys):  # The shape of no maps is anyone's.
            assert_allclose(maps, vector[name], rtol=0, atol=1e-5)
    mask = cams_to_mask(fused(size), keys, meta['bkgscore']).numpy()
    assert mask.shape == vector['pred'].shape
    assert (mask != vector['pred']).mean() <= 0.005


def check_scores(vector):
    num = len(vector['f64_class_iou']) - 1  # Without background.
    confusion = sum(
        mask_confusion(vector[f'pred_{i}'], vector[f'gt_{i}'], num)
        for i in range(sum(name.startswith('gt_') for name in vector)))
    # Classes that only predictions have count as 0, but not in the mean.
    curve = curve_from_confusion(confusion[:, :-1], absent='unlabelled')
    assert_allclose(
        np.nan_to_num(curve.iou[0] / 100, nan=-1),
        vector['f64_class_iou'],
        rtol=0,
        atol=1e-9)
    assert_allclose(curve.miou[0] / 100, vector['f64_miou'], rtol=1e-9)
    right, labels = curve.tp[0], confusion.sum(axis=1)
    assert_allclose(right.sum() / labels.sum(), vector['f64_acc'], rtol=1e-9)
    present = labels > 0
    assert_allclose((right[present] / labels[present]).mean(),
                    vector['f64_macc'],
                    rtol=1e-9)
