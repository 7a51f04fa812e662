"""IRNet: losses, network, fusion of mirror images, parameter groups."""
import json
import zlib

import numpy as np
import torch
from mmengine.optim import build_optim_wrapper
from torch.testing import assert_close

from mmwsss.models.heads import DisplacementHead, EdgeHead
from mmwsss.models.losses import affinity_terms, displacement_terms
from mmwsss.models.segmentors.irnet import merge_edges
from mmwsss.pseudo_labels.pixel_pairs import (
    pair_labels,
    pair_values,
    path_affinity,
    path_offsets,
)
from mmwsss.registry import MODELS

from .acr_helpers import tensor
from .test_psa_affinity import close

FAMILIES = ('irn_losses', 'irn_edge_flip', 'irn_net_forward',
            'irn_param_groups')
LAYERS = {
    **{f'fc_edge{i}.': f'edge_head.branches.{i - 1}.' for i in range(1, 6)},
    'fc_edge6.': 'edge_head.fuse.',
    **{f'fc_dp{i}.': f'displacement_head.branches.{i - 1}.'
       for i in range(1, 6)},
    'fc_dp6.': 'displacement_head.mix_deep.',
    'fc_dp7.3.': 'displacement_head.predict.',
    'fc_dp7.4.running_mean': 'displacement_head.running_mean',
    'fc_dp7.': 'displacement_head.mix_all.',
    'resnet50.': 'backbone.',
}


def our_name(name):
    """Our name of one of IRN's parameters."""
    for theirs, ours in LAYERS.items():
        if name.startswith(theirs):
            return ours + name[len(theirs):]
    raise KeyError(name)


def build_irn(crop_size=512):
    return MODELS.build(
        dict(
            type='mmwsss.IRNet',
            backbone=dict(
                type='mmwsss.ResNetWithStem',
                depth=50,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 1),
                out_indices=(0, 1, 2, 3),
                style='pytorch'),
            edge_head=dict(type='mmwsss.EdgeHead'),
            displacement_head=dict(type='mmwsss.DisplacementHead'),
            propagate=dict(crop_size=crop_size)))


def fill(model):
    """Give all tensors the weights that IRN's names stand for."""
    for name, value in model.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        key, = [
            theirs + name[len(ours):] for theirs, ours in LAYERS.items()
            if name.startswith(ours)
        ]
        rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7fffffff)
        shape = tuple(value.shape)
        if value.ndim == 4:
            weight = rng.standard_normal(shape) * np.sqrt(
                2 / np.prod(shape[1:]))
        elif key.endswith('running_var'):
            weight = rng.uniform(.5, 1.5, shape)
        elif key.endswith('running_mean'):
            weight = .1 * rng.standard_normal(shape)
        elif key.endswith('weight'):
            weight = rng.uniform(.5, 1, shape)
        else:
            weight = .1 * rng.standard_normal(shape)
        value.copy_(tensor(weight))


def check_losses(vector):
    meta = json.loads(str(vector['meta']))
    radius = meta['radius']
    logit, field = (
        tensor(vector[key]).requires_grad_()
        for key in ('edge_logit', 'displacement'))
    offsets = path_offsets(radius)
    assert np.array_equal(offsets, vector['search_dst_dy_dx'])
    label = torch.from_numpy(vector['label_map'].astype(np.int16))
    labels = pair_labels(label, radius, offsets,
                         meta.get('num_classes', 21))
    for group, name in zip(labels, ('bg_pos', 'fg_pos', 'neg')):
        assert np.array_equal(group.numpy(), vector[name] > 0)
    affinity = path_affinity(logit.sigmoid(), radius)
    close(affinity, vector['affinity'])
    bg, fg, neg = affinity_terms(affinity, *labels)
    close(bg, vector['bg_pos_aff_loss'])
    close(fg, vector['fg_pos_aff_loss'])
    close((bg + fg) / 2, vector['pos_aff_loss'])
    close(neg, vector['neg_aff_loss'])
    source, target = pair_values(field, offsets, radius)
    close(source - target, vector['pair_disp'])
    dp_fg, dp_bg = displacement_terms(source - target,
                                      torch.from_numpy(offsets), *labels[:2])
    close(dp_fg, vector['dp_fg_loss'])
    close(dp_bg, vector['dp_bg_loss'])
    edge_head, dp_head = EdgeHead(), DisplacementHead()
    loss = sum({
        **edge_head.loss(logit, labels, radius),
        **dp_head.loss(field, *labels[:2], radius)
    }.values())
    close(loss, vector['total_loss'])
    loss.backward()
    close(logit.grad, vector['grad_edge_logit'])
    close(field.grad, vector['grad_displacement'])


def check_edge_flip(vector):
    _, h, w = vector['edge'].shape
    edge = merge_edges(tensor(vector['raw_edge']), (h, w))
    close(edge[None], vector['edge'])
    close(tensor(vector['raw_dp'])[0, :, :h, :w], vector['dp'])


def check_net_forward(vector):
    model = build_irn(json.loads(str(vector['meta']))['crop']).eval()
    fill(model)
    image = tensor(vector['x'])
    crop = model.propagate['crop_size']
    pad = (0, crop - image.shape[3], 0, crop - image.shape[2])
    with torch.no_grad():
        logit, field = model(torch.nn.functional.pad(image, pad))
        edge = model.predict_edge(image[0])
    h, w = edge.shape
    for result, name in ((logit, 'raw_edge_logit'), (field, 'raw_dp'),
                         (edge[None], 'edge'), (field[0, :, :h, :w], 'dp')):
        target = torch.from_numpy(vector[name])
        assert_close(
            result, target, rtol=0, atol=1e-4 * float(target.abs().max()))


def check_param_groups(vector):
    model = build_irn()
    factors = json.loads(str(vector['meta']))['lr_mult']
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4),
            paramwise_cfg=dict(
                custom_keys=dict(
                    edge_head=dict(lr_mult=factors[0]),
                    displacement_head=dict(lr_mult=factors[1])))))
    names = {id(p): n for n, p in model.named_parameters()}
    found = {}
    for group in wrapper.optimizer.param_groups:
        for param in group['params']:
            if param.requires_grad:
                found.setdefault(round(group['lr'], 6),
                                 set()).add(names[id(param)])
    assert found == {
        lr: {our_name(n) for n in vector[key].tolist()}
        for lr, key in zip((round(0.1 * f, 6) for f in factors),
                           ('group0_edge', 'group1_dp'))
    }


CHECKS = dict(
    losses=check_losses,
    edge_flip=check_edge_flip,
    net_forward=check_net_forward,
    param_groups=check_param_groups)


def test_irn(vector):
    check, = [
        f for key, f in CHECKS.items() if vector.name.startswith(f'irn_{key}')
    ]
    check(vector)
