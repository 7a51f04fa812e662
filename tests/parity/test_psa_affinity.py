"""PSA's and SEAM's affinity labels, losses and head."""
import json

import numpy as np
import torch
from torch.testing import assert_close

from mmwsss.models.heads import AffinityHead
from mmwsss.models.losses import affinity_loss, affinity_terms
from mmwsss.pseudo_labels.pixel_pairs import pair_labels, pair_offsets
from mmwsss.pseudo_labels.transforms.affinity_labels import confident_planes

from .acr_helpers import tensor

FAMILIES = ('psa_aff_label', 'psa_aff_loss', 'psa_head', 'seamaff_head')
TERMS = ('bg', 'fg', 'neg')


def close(result, target):
    """Within 1e-5 of the largest value."""
    target = torch.as_tensor(target)
    largest = float(target.abs().max()) if target.numel() else 0
    assert_close(
        result.detach(), target, rtol=0, atol=1e-5 * max(largest, 1e-6))


def check_label(vector):
    low, high = (
        vector[name].astype(np.float32) / 255 for name in ('la_u8', 'ha_u8'))
    meta = json.loads(str(vector['meta']))
    stride = meta['crop'] // vector['label_map'].shape[0]
    radius = meta.get('radius', 5)
    label = confident_planes(low, high, stride=stride)
    assert np.array_equal(label, vector['label_map'])
    offsets = pair_offsets(radius)
    assert np.array_equal(offsets, vector['offsets_dy_dx'])
    groups = pair_labels(torch.from_numpy(label)[None], radius, offsets)
    for group, name in zip(groups, ('bg_pos', 'fg_pos', 'neg')):
        assert np.array_equal(group[0].numpy(), vector[name] > 0)


def check_loss(vector):
    affinity = tensor(vector['aff']).requires_grad_()
    masks = [
        torch.from_numpy(vector[f'{name}_label'] > 0) for name in TERMS
    ]
    for term, name in zip(affinity_terms(affinity, *masks), TERMS):
        close(term, vector[f'{name}_loss'])
    loss = sum(affinity_loss(affinity, *masks).values())
    close(loss, vector['loss'])
    loss.backward()
    close(affinity.grad, vector['grad_aff'])


def check_head(vector):
    taps = [
        tensor(vector[f'in_conv{i}']).requires_grad_() for i in (4, 5, 6)
    ]
    weights = [tensor(vector[f'w_{n}'])
               for n in ('f8_3', 'f8_4', 'f8_5', 'f9')]
    meta = json.loads(str(vector['meta']))
    head = AffinityHead([x.shape[1] for x in taps],
                        [w.shape[0] for w in weights[:3]],
                        radius=meta.get('radius', 5),
                        shrink_radius=meta['repo'] == 'seam')
    params = [*(conv.weight for conv in head.reduce), head.mix.weight]
    for param, weight in zip(params, weights):
        param.data.copy_(weight)
    affinity = head.affinity(taps)
    close(affinity, vector['aff'])
    (affinity * tensor(vector['R'])).sum().backward()
    for name, array in vector.items():
        if name.startswith('grad_'):
            key = name[5:]
            given = (
                taps[int(key[-1]) - 4] if key.startswith('conv') else
                params[('f8_3', 'f8_4', 'f8_5', 'f9').index(key)])
            close(given.grad, array)
    if 'dense' in vector:
        with torch.no_grad():
            layout, offsets = head.dense_affinity(taps)
        _, _, h, w = layout.shape
        dense = torch.eye(h * w)
        for values, (dy, dx) in zip(layout[0], offsets.tolist()):
            for y, x in values.nonzero().tolist():
                i, j = y * w + x, (y + dy) * w + x + dx
                dense[i, j] = dense[j, i] = values[y, x]
        close(dense, vector['dense'])


CHECKS = dict(aff_label=check_label, aff_loss=check_loss, head=check_head)


def test_psa_affinity(vector):
    name = vector.name.split('_', 1)[1]
    check, = [f for key, f in CHECKS.items() if name.startswith(key)]
    check(vector)
