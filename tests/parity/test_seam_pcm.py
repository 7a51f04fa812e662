"""SEAM's pixel correlation module, alone and behind its layers."""
import json

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.heads import CAMHead
from mmwsss.models.refiners import (
    PixelCorrelationModule,
    competing_maps,
    pixel_correlation,
)
from mmwsss.structures import ViewOutput

from .acr_helpers import tensor

FAMILIES = ('seam_pcm', 'seam_head')


def close(result, target, rtol=1e-5):
    """Within 1e-5 of the largest value."""
    target = torch.as_tensor(target)
    assert_close(
        result.detach(),
        target,
        rtol=0,
        atol=rtol * max(float(target.abs().max()), 1e-6))


def resized(maps, size):
    return F.interpolate(
        maps, size=tuple(size), mode='bilinear', align_corners=True)


def check_pcm(vector):
    features = F.conv2d(tensor(vector['feat']), tensor(vector['f9_weight']))
    maps = tensor(vector['cam'])
    if maps.shape[2:] != features.shape[2:]:
        maps = resized(maps, features.shape[2:])
    for block_size in (None, 1, 7):
        close(
            pixel_correlation(maps, features, block_size), vector['cam_rv'])


def check_head(vector):
    taps = [
        tensor(vector[f'in_conv{i}']).requires_grad_() for i in (4, 5, 6)
    ]
    weights = {n: tensor(vector[f'w_{n}'])
               for n in ('fc8', 'f8_3', 'f8_4', 'f9')}
    # The authors' channel 0, the background's, is never read by the module
    # and never supervised; our head has no such channel.
    num_classes = len(weights['fc8']) - 1
    head = CAMHead(num_classes, taps[2].shape[1])
    refiner = PixelCorrelationModule(
        [x.shape[1] for x in taps[:2]],
        [len(weights['f8_3']), len(weights['f8_4'])],
        query_channels=len(weights['f9']))
    head.conv.weight.data.copy_(weights['fc8'][1:])
    params = dict(
        f8_3=refiner.projections[0].weight,
        f8_4=refiner.projections[1].weight,
        f9=refiner.query.weight)
    for name, param in params.items():
        param.data.copy_(weights[name])
    view = ViewOutput(
        tensor(vector['x']),
        fields=dict(feats=tuple(taps)),
        providers=dict(cams=head.cams, refined_cams=refiner))
    size = view.image.shape[2:]
    close(competing_maps(view.cams), vector['cam_norm_in'])
    close(
        refiner.embed(view), F.conv2d(tensor(vector['f_in']), weights['f9']))
    close(resized(view.cams, size), vector['cam'][:, 1:])
    close(resized(view.refined_cams, size), vector['cam_rv'])

    leaves = {
        **{f'{name}.weight': param for name, param in params.items()},
        'fc8.weight': head.conv.weight,
        **{f'conv{i}': tap for i, tap in zip((4, 5, 6), taps)}
    }
    without = json.loads(str(vector['meta']))

    def check_gradients(maps, weight, kind, none):
        for leaf in leaves.values():
            leaf.grad = None
        (resized(maps, size) * tensor(weight)).sum().backward()
        for name in none:
            assert leaves[name].grad is None, name
        for name in leaves.keys() - set(none):
            target = vector[f'grad_{kind}_{name.split(".")[0]}']
            if name == 'fc8.weight':
                target = target[1:]
            close(leaves[name].grad, target)

    check_gradients(view.refined_cams, vector['R_rv'], 'rv',
                    without['no_grad_from_cam_rv'])
    # conv6's gradient includes the authors' channel 0: give it its share.
    background = F.conv2d(taps[2], weights['fc8'][:1])
    check_gradients(
        torch.cat((background, view.cams), dim=1), vector['R_cam'], 'cam',
        without['no_grad_from_cam'])


def test_seam_pcm(vector):
    check = check_pcm if vector.name.startswith('seam_pcm') else check_head
    check(vector)
