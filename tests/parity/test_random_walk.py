"""Random walks of PSA, SEAM's copy of it, and IRNet."""
import json

import numpy as np
import torch
import torch.nn.functional as F

from mmwsss.pseudo_labels.pixel_pairs import pair_offsets, path_offsets
from mmwsss.pseudo_labels.random_walk import (
    edge_affinity,
    random_walk,
    walk_scores_irn,
    walk_scores_psa,
)

FAMILIES = ('psa_random_walk', 'seamaff_random_walk', 'irn_propagate',
            'irn_sem_seg')

# Of the largest value. The references square float32 matrices, which errs by
# 1e-4 itself.
WALK = 5e-4


def assert_near(actual, expected, share=WALK):
    """Equal up to a share of the largest expected value."""
    assert tuple(actual.shape) == expected.shape
    error = np.abs(actual.numpy() - expected).max(initial=0)
    assert error <= share * np.abs(expected).max(initial=0) + 1e-12


def assert_same_labels(actual, expected):
    """Equal but for near ties."""
    assert np.mean(actual.numpy() != expected) <= 0.005


def pairs_of(dense, size, offsets):
    """Entries (P, h, w) of a dense affinity matrix (hw, hw)."""
    h, w = size
    maps = dense.reshape(h, w, h, w)
    out = torch.zeros(len(offsets), h, w)
    for p, (dy, dx) in enumerate(offsets):
        for y in range(h - dy):
            for x in range(max(0, -dx), w - max(0, dx)):
                out[p, y, x] = float(maps[y, x, y + dy, x + dx])
    return out


def dense_of(pairs, offsets):
    """Symmetric matrix with unit diagonal of pair values (P, h, w)."""
    num, h, w = pairs.shape
    maps = torch.eye(h * w).view(h, w, h, w)
    for p, (dy, dx) in enumerate(offsets):
        for y in range(h - dy):
            for x in range(max(0, -dx), w - max(0, dx)):
                maps[y, x, y + dy, x + dx] = pairs[p, y, x]
                maps[y + dy, x + dx, y, x] = pairs[p, y, x]
    return maps.view(h * w, h * w)


def test_walk(vector):
    meta = json.loads(str(vector['meta']))
    if 'keys' in meta and 'thres' not in meta:
        check_psa(vector, meta)
    elif 'thres' in meta:
        check_irn_labels(vector, meta)
    else:
        check_irn(vector, meta)


def check_psa(vector, meta):
    keys, logt = meta['keys'], meta['logt']
    low = torch.from_numpy(vector['cam_pooled'])
    size = tuple(low.shape[1:])
    dense = torch.from_numpy(vector['affinity_dense'])
    # SEAM's copy shrinks the radius on small maps.
    radius = meta.get('radius', 5)
    if meta['repo'] == 'seam' and min(size) <= 2 * radius:
        radius = (min(size) - 1) // 2
    offsets = pair_offsets(radius)
    affinity = pairs_of(dense, size, offsets)
    np.testing.assert_array_equal(dense_of(affinity, offsets), dense)

    beta, alpha = meta['beta'], meta['alpha']
    walked = random_walk(low[None], affinity[None], offsets, beta, 2**logt)
    assert_near(walked[0], vector['cam_rw_low'])
    # Walking from every single pixel yields the matrix itself.
    power = random_walk(
        torch.eye(size[0] * size[1]).view(1, -1, *size), affinity[None],
        offsets, beta, 2**logt)
    assert_near(power[0].flatten(1), vector['trans_mat'])

    cams = torch.from_numpy(vector['cams'])
    scores = walk_scores_psa(cams, affinity, offsets, alpha, beta, logt)
    up = vector['cam_rw_up_classes'][:, :cams.shape[1], :cams.shape[2]]
    assert_near(scores, up)
    ids = torch.tensor([0, *(k + 1 for k in keys)])
    assert_same_labels(ids[scores.argmax(0)], vector['pred'])


def check_irn(vector, meta):
    edge = torch.from_numpy(vector['edge'])[None]
    radius, steps = meta['radius'], 2**meta['exp_times']
    size, offsets = edge.shape[2:], path_offsets(radius)
    affinity = edge_affinity(edge, radius)
    np.testing.assert_array_equal(
        dense_of(affinity[0], offsets), vector['dense_affinity'])
    cams = torch.from_numpy(vector['cams'])
    walked = random_walk((cams * (1 - edge[0]))[None], affinity, offsets,
                         meta['beta'], steps)
    assert_near(walked[0], vector['rw'][:, 0])
    power = random_walk(
        torch.eye(size[0] * size[1]).view(1, -1, *size), affinity, offsets,
        meta['beta'], steps)
    assert_near(power[0].flatten(1), vector['transition'])


def check_irn_labels(vector, meta):
    scores = walk_scores_irn(
        torch.from_numpy(vector['strided_cams']),
        torch.from_numpy(vector['edge'])[0], meta['size'], meta['radius'],
        meta['beta'], meta['exp_times'])
    assert_near(scores, vector['rw_up'])
    ids = torch.tensor([0, *(k + 1 for k in meta['keys'])])
    padded = F.pad(scores, (0, 0, 0, 0, 1, 0), value=meta['thres'])
    assert_same_labels(ids[padded.argmax(0)], vector['pred'])
