"""SEAM's loss functions, and all losses of one of its training steps."""
import json

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.localizers.fusion import normalize_maps
from mmwsss.models.regularizers.equivariant_regularization import (
    EquivariantRegularization,
    adaptive_min_pooling_loss,
    minmax_norm,
    winner_take_all,
)
from mmwsss.models.second_views import Rescale
from mmwsss.structures import ViewOutput, ViewPair

from .acr_helpers import tensor

FAMILIES = ('seam_funcs', 'seam_losses')


def check(found, expected):
    """Equal to 1e-5 of the largest entry."""
    expected = tensor(expected)
    scale = float(expected.abs().max())
    assert_close(found, expected, rtol=0, atol=1e-5 * scale + 1e-12)


def check_functions(vector):
    maps = tensor(vector['p4']).requires_grad_()
    normed = minmax_norm(maps)
    check(normed, vector['max_norm_4d'])
    (normed * tensor(vector['max_norm_4d_R'])).sum().backward()
    check(maps.grad, vector['max_norm_4d_grad'])
    check(minmax_norm(tensor(vector['p3'])), vector['max_norm_3d'])
    # The rule on arrays is that of the localizers, except that it divides
    # by the maximum, not by the range.
    for maps, name in ((tensor(vector['p3']), 'max_norm_np_3d'),
                       (tensor(vector['p4']).flatten(0, 1),
                        'max_norm_np_4d')):
        low, high = maps.relu().flatten(1).aminmax(dim=1)
        factor = (high - low + 1e-5) / (high + 1e-5)
        found = normalize_maps(maps, 'shifted', 1e-5) * factor[:, None, None]
        check(found.view(vector[name].shape), vector[name])

    maps = tensor(vector['amp_x']).requires_grad_()
    loss = adaptive_min_pooling_loss(maps)
    check(loss, vector['amp_loss'])
    loss.backward()
    check(maps.grad, vector['amp_grad'])
    check(
        adaptive_min_pooling_loss(tensor(vector['amp_x_masked'])),
        vector['amp_loss_masked'])
    assert torch.equal(
        winner_take_all(tensor(vector['onehot_in'])),
        tensor(vector['onehot_out']))


def check_losses(vector):
    names = ('cam1', 'cam_rv1', 'cam2', 'cam_rv2')
    maps = {
        name: tensor(vector[f'in_{name}']).requires_grad_()
        for name in names
    }
    labels = tensor(vector['label20'])
    rescale = Rescale()
    meta = json.loads(str(vector['meta']))
    if 'img1' in vector:
        images = [tensor(vector['img1']), tensor(vector['img2'])]
        check(rescale.apply(images[0]), vector['img2'])
    else:
        images = [torch.zeros(shape) for shape in meta['model_calls']]
        assert rescale.apply(images[0]).shape == images[1].shape
    views = [
        ViewOutput(
            images[i],
            labels,
            fields=dict(
                cams=maps[f'cam{i + 1}'][:, 1:],
                refined_cams=maps[f'cam_rv{i + 1}'])) for i in (0, 1)
    ]
    regularizer = EquivariantRegularization(
        topk_ratio=meta.get('topk_ratio', 0.2))
    if 'topk' in meta:
        share = regularizer.topk_ratio * maps['cam2'][0].numel()
        assert meta['topk'] == int(share)
    losses = regularizer(ViewPair(*views, transform=rescale.apply))
    for name in ('er', 'ecr'):
        check(losses[f'loss_{name}'], vector[f'loss_{name}'])
    rvmin = (tensor(vector['loss_rvmin1']) + tensor(vector['loss_rvmin2'])) / 2
    check(losses['loss_rvmin'], rvmin)
    classes = [
        F.multilabel_soft_margin_loss(v.cams.mean((2, 3)), labels)
        for v in views
    ]
    for i in (0, 1):
        check(classes[i], vector[f'loss_cls{i + 1}'])
    check(sum(classes) / 2 + losses['loss_rvmin'], vector['loss_cls'])
    total = sum(classes) / 2 + sum(losses.values())
    check(total, vector['loss'])
    total.backward()
    for name in names:
        check(maps[name].grad, vector[f'grad_{name}'])


def test_seam_losses(vector):
    if vector.name.startswith('seam_funcs'):
        check_functions(vector)
    else:
        check_losses(vector)
