"""The optimiser as ACR's script really configures it."""
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR
from torch.testing import assert_close

from .acr_helpers import tensor

FAMILIES = ('acr_poly_sgd', )


def test_poly_sgd(vector):
    # Hyper-parameters come from the schedule file the ACR configs use.
    cfg = Config.fromfile('configs/_base_/schedules/acr_26k.py')
    optimizer_cfg = dict(cfg.optim_wrapper.optimizer)
    assert optimizer_cfg.pop('type') == 'SGD'
    assert optimizer_cfg['momentum'] == vector['effective_momentum']
    assert optimizer_cfg['weight_decay'] == vector['effective_weight_decay']
    optimizer_cfg['lr'] = float(vector['lr0'])
    scheduler_cfg = dict(cfg.param_scheduler[0])
    assert scheduler_cfg.pop('type') == 'PolyLR'
    assert scheduler_cfg['end'] == cfg.train_cfg.max_iters + 1
    max_step = int(vector['max_step'])
    scheduler_cfg['end'] = max_step + 1

    weight = tensor(vector['init']).requires_grad_()
    optimizer = torch.optim.SGD([weight], **optimizer_cfg)
    schedule = PolyLR(optimizer, **scheduler_cfg)
    rows = zip(vector['grads'], vector['lrs'], vector['weights'])
    for step, (grad, lr, after) in enumerate(rows):
        assert abs(optimizer.param_groups[0]['lr'] - lr) < 1e-9
        weight.grad = tensor(grad)
        optimizer.step()
        # Training ends at max_step; the script's extra steps keep the last
        # learning rate.
        if step + 1 < max_step:
            schedule.step()
        assert_close(weight.detach(), tensor(after), rtol=1e-5, atol=1e-6)
