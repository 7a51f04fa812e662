import logging

import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmwsss.models.utils.momentum_copy import MomentumCopy

CONFIG = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3),
    paramwise_cfg=dict(
        bias_lr_mult=2.,
        norm_decay_mult=0.,
        custom_keys={
            'head': dict(lr_mult=10.),
            'head.last': dict(lr_mult=3., decay_mult=0.)
        }))


def network():
    torch.manual_seed(0)
    model = nn.Sequential()
    model.body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    model.head = nn.Sequential(nn.Conv2d(4, 4, 1))
    model.head.last = nn.Conv2d(4, 2, 1)
    model.body[0].weight.requires_grad_(False)
    return model


def steps(**options):
    """Settings of every parameter, their number of groups, and weights."""
    model = network()
    optim = build_optim_wrapper(model, dict(CONFIG, **options))
    groups = optim.optimizer.param_groups
    settings = {
        id(p): {k: v for k, v in group.items() if k != 'params'}
        for group in groups for p in group['params']
    }
    for i in range(3):
        torch.manual_seed(i)
        optim.update_params(model(torch.randn(2, 3, 8, 8)).square().mean())
    return ([settings.get(id(p)) for p in model.parameters()], len(groups),
            [p.detach() for p in model.parameters()])


def test_same_updates_of_fewer_groups():
    theirs = steps()
    ours = steps(constructor='mmwsss.GroupedOptimWrapperConstructor')
    assert ours[0] == theirs[0]
    assert theirs[1] == 9
    assert ours[1] == len({repr(s) for s in ours[0] if s}) < 9
    for one, other in zip(ours[2], theirs[2]):
        assert torch.equal(one, other)


def test_without_paramwise_settings():
    settings, count, _ = steps(
        constructor='mmwsss.GroupedOptimWrapperConstructor',
        paramwise_cfg=None)
    assert count == 1 and len({repr(s) for s in settings}) == 1


def test_teachers_are_left_out_without_a_word():
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_instance('teachers')
    logger.addHandler(handler)
    model = network()
    model.teacher = MomentumCopy(model.head, 0.9)
    optim = build_optim_wrapper(
        model,
        dict(CONFIG, constructor='mmwsss.GroupedOptimWrapperConstructor'))
    updated = {id(p) for group in optim.optimizer.param_groups
               for p in group['params']}
    assert not updated & {id(p) for p in model.teacher.parameters()}
    assert updated >= {id(p) for p in model.parameters() if p.requires_grad}
    assert not any('teacher' in message for message in messages)
