"""SEAM's optimiser as its script really configures it."""
import json

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR, build_optim_wrapper
from torch.testing import assert_close

from mmwsss.registry import MODELS
from tests.test_tools import ROOT

from .acr_helpers import tensor

FAMILIES = ('poly_optimizer', 'resnet38_seam_param_groups')

# Ours to the published names
NAMES = {
    'cls_head.conv': 'fc8',
    'refiner.projections.0': 'f8_3',
    'refiner.projections.1': 'f8_4',
    'refiner.query': 'f9',
}


def schedule():
    return Config.fromfile(ROOT / 'configs/_base_/schedules/sgd_seam.py')


def test_seam_optimizer(vector):
    if 'group0' in vector:
        check_groups(vector)
    else:
        check_steps(vector)


def test_schedule_is_the_one_published():
    # Its weight decay of 5e-4 arrives as the momentum as well.
    assert schedule().optim_wrapper.optimizer == dict(
        type='SGD', lr=0.01, momentum=5e-4, weight_decay=5e-4)


def check_steps(vector):
    meta = json.loads(str(vector['meta']))
    scheduler_cfg = dict(schedule().param_scheduler[0])

    first, second = (tensor(p).requires_grad_()
                     for p in np.split(vector['p0'], [5]))
    optimizer = torch.optim.SGD(
        [
            dict(params=[first], weight_decay=meta['wd']),
            dict(params=[second], lr=10 * meta['lr'], weight_decay=0.)
        ],
        lr=meta['lr'])
    for group, momentum in zip(optimizer.param_groups,
                               meta['effective_momentum']):
        group['momentum'] = momentum
    poly = PolyLR(
        optimizer,
        power=scheduler_cfg['power'],
        eta_min=scheduler_cfg['eta_min'],
        end=meta['max_step'] + 1,
        by_epoch=False)
    rows = zip(vector['grads'], vector['f64_lrs'], vector['params_after'],
               strict=True)
    for step, (grad, lrs, after) in enumerate(rows):
        np.testing.assert_allclose(
            [g['lr'] for g in optimizer.param_groups], lrs, rtol=1e-9)
        first.grad, second.grad = (tensor(g) for g in np.split(grad, [5]))
        optimizer.step()
        assert_close(
            torch.cat((first, second)).detach(),
            tensor(after),
            rtol=1e-5,
            atol=1e-6)
        # Training ends at max_step; the script's extra steps keep the last
        # learning rate.
        if step + 1 < meta['max_step']:
            poly.step()


def check_groups(vector):
    meta = json.loads(str(vector['meta']))
    model = torch.nn.ModuleDict(
        dict(
            backbone=MODELS.build(dict(type='mmwsss.ResNet38')),
            cls_head=MODELS.build(
                dict(
                    type='mmwsss.CAMHead', num_classes=20,
                    in_channels=4096)),
            refiner=MODELS.build(
                dict(type='mmwsss.PixelCorrelationModule')))).train()

    def name(key):
        for ours, theirs in NAMES.items():
            key = key.replace(ours, theirs)
        return key.removeprefix('backbone.')

    params = {name(k): v for k, v in model.named_parameters()}
    trained = [k for k, v in params.items() if v.requires_grad]
    frozen = [k for k in params if k not in trained]
    assert set(trained) == {*vector['group0'], *vector['group2']}
    assert frozen == vector['frozen'].tolist()
    state = {name(k): v for k, v in model.state_dict().items()}
    assert set(state) == set(vector['state_keys'].tolist())
    # The script's classifier has an output for the background as well, which
    # no loss reads.
    background = 4096
    assert sum(v.numel() for v in params.values()) == (
        meta['n_params'] - background)
    assert sum(params[k].numel() for k in trained) == (
        meta['n_trained'] - background)
    for key, shape in zip(vector['state_keys'], vector['state_shapes']):
        shape = json.loads(str(shape))
        if key == 'fc8.weight':
            shape[0] -= 1
        assert list(state[key].shape) == shape

    # Factors of biases (groups 1 and 3) do not matter: there are none.
    assert not len(vector['group1']) + len(vector['group3'])
    cfg = schedule().optim_wrapper
    optimizer = build_optim_wrapper(model, cfg).optimizer
    names = {id(v): k for k, v in params.items()}
    found = {}
    for group in optimizer.param_groups:
        for param in group['params']:
            if param.requires_grad:
                found[names[id(param)]] = (group['lr'], group['weight_decay'])
    decay = cfg.optimizer.weight_decay
    rates = [m * cfg.optimizer.lr for m in meta['lr_mult']]
    assert found == {
        **{k: (rates[0], decay) for k in vector['group0'].tolist()},
        **{k: (rates[2], decay) for k in vector['group2'].tolist()},
    }
    assert meta['bn_eval_in_train_mode'] and not any(
        m.training for m in model.modules()
        if isinstance(m, torch.nn.BatchNorm2d))
