"""The optimiser as ACR's script really configures it."""
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR
from torch.testing import assert_close

from tests.test_tools import ROOT

from .acr_helpers import tensor

FAMILIES = ('acr_poly_sgd', )


def script():
    """The schedule file the ACR configs use."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/schedules/acr_26k.py')
    return cfg, dict(cfg.optim_wrapper.optimizer), dict(cfg.param_scheduler[0])


def test_schedule_is_the_one_published():
    # Its weight decay of 5e-4 arrives as the momentum.
    cfg, optimizer, scheduler = script()
    assert optimizer == dict(
        type='SGD', lr=optimizer['lr'], momentum=5e-4, weight_decay=0)
    assert scheduler['type'] == 'PolyLR' and scheduler['power'] == 0.9
    assert scheduler['end'] == cfg.train_cfg.max_iters + 1


def test_poly_sgd(vector):
    _, optimizer_cfg, scheduler_cfg = script()
    assert optimizer_cfg.pop('type') == 'SGD'
    optimizer_cfg.update(
        lr=float(vector['lr0']),
        momentum=float(vector['effective_momentum']),
        weight_decay=float(vector['effective_weight_decay']))
    assert scheduler_cfg.pop('type') == 'PolyLR'
    max_step = int(vector['max_step'])
    scheduler_cfg['end'] = max_step + 1

    weight = tensor(vector['init']).requires_grad_()
    optimizer = torch.optim.SGD([weight], **optimizer_cfg)
    schedule = PolyLR(optimizer, **scheduler_cfg)
    rows = zip(
        vector['grads'], vector['lrs'], vector['weights'], strict=True)
    for step, (grad, lr, after) in enumerate(rows):
        assert abs(optimizer.param_groups[0]['lr'] - lr) < 1e-9
        weight.grad = tensor(grad)
        optimizer.step()
        # Training ends at max_step; the script's extra steps keep the last
        # learning rate.
        if step + 1 < max_step:
            schedule.step()
        assert_close(weight.detach(), tensor(after), rtol=1e-5, atol=1e-6)
