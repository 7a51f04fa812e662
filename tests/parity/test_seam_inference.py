"""SEAM's CAMs fused over scales, their CRF scores, their mIoU."""
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mmwsss.evaluation.functional import (
    ScoreBins,
    best_class,
    curve_from_histogram,
    score_histogram,
)
from mmwsss.models.localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_maps,
)
from mmwsss.models.segmentors.cam_segmentor import cams_to_mask
from mmwsss.pseudo_labels.transforms import CRFScores

FAMILIES = ('seam_infer', 'seam_eval')

# Tolerances on probabilities and on the share of other labels.
CLOSE = {'pydensecrf': (1e-4, 0.), 'torch': (1e-3, .005)}


def test_seam_inference(vector):
    if 'norm_cam' in vector:
        check_fusion(vector)
    else:
        check_evaluation(vector)


def check_fusion(vector):
    size = vector['orig_img'].shape[:2]
    views = []
    for i in range(2 * len(json.loads(str(vector['meta']))['scales'])):
        maps = torch.from_numpy(vector[f'net_out_{i}'])[1:]
        maps = maps.flip(-1) if i % 2 else maps
        views.append(resize_maps(maps, size, align_corners=False))
    maps = fuse_maps(views) * torch.from_numpy(
        vector['label20']).float()[:, None, None]
    maps = normalize_maps(maps, 'shifted', 1e-5)
    assert_allclose(maps, vector['norm_cam'], rtol=0, atol=1e-5)

    # What the segmentor keeps: present classes, in [0, 1].
    keys = np.flatnonzero(vector['label20'])
    assert keys.tolist() == vector['keys'].tolist()
    cams = maps[keys].clamp(min=0)
    # Named after the background's score, .26.
    masks = [name for name in vector if name.startswith('pred_0')]
    assert masks
    for name in masks:
        mask = cams_to_mask(cams, torch.from_numpy(keys),
                            float(f'0.{name[6:]}'))
        assert (mask.numpy() != vector[name]).mean() <= 0.005


@pytest.mark.parametrize('backend', sorted(CLOSE))
def test_seam_crf_scores(vector, backend):
    alphas = [int(k[9:]) for k in vector if k.startswith('crf_alpha')]
    if not alphas:
        pytest.skip('no CRF scores in this file')
    if backend == 'pydensecrf':
        pytest.importorskip('pydensecrf')
    atol, share = CLOSE[backend]
    cams = vector['norm_cam'][vector['keys']].clip(min=0)
    transform = CRFScores(alphas=alphas, crf=dict(backend=backend))
    scores = transform(
        dict(img=vector['orig_img'][..., ::-1], cams=cams))['crf_scores']
    for alpha, score in scores.items():
        expected = vector[f'crf_alpha{alpha}']
        assert_allclose(score, expected, rtol=0, atol=atol)
        assert (score.argmax(0) != expected.argmax(0)).mean() <= share


def check_evaluation(vector):
    bins = ScoreBins(vector['thresholds'])
    expected = vector['f64_iou_and_miou']
    num = expected.shape[1] - 2  # Classes without background, and the mean.
    histogram = np.zeros((num + 1) * num * (len(bins) + 1), np.int64)
    for i in range(sum(name.startswith('gt_') for name in vector)):
        # SEAM's own maps may lie a rounding error below zero.
        cams = torch.from_numpy(vector[f'cam_{i}']).clamp(min=0)
        index, counts = score_histogram(
            *best_class(cams), torch.from_numpy(vector[f'keys_{i}']),
            torch.from_numpy(vector[f'gt_{i}']).flatten(), bins, num)
        np.add.at(histogram, index, counts)
    curve = curve_from_histogram(
        histogram.reshape(num + 1, num, -1), absent='zero')
    assert_allclose(curve.iou, expected[:, :-1], rtol=0, atol=1e-6)
    assert_allclose(curve.miou, expected[:, -1], rtol=0, atol=1e-6)
