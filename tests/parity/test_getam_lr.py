"""The published learning rates, from mmengine's schedulers."""
import numpy as np
import torch
from mmengine.optim import MultiStepLR, PolyLR

from mmwsss.models.utils import segments_at

FAMILIES = ('getam_lr', )


def test_learning_rate_and_phase(vector):
    total, share = int(vector['max_step']), float(vector['cls_step'])
    phases = [segments_at(t, total, share) for t in range(total + 1)]
    np.testing.assert_array_equal(phases, vector['phase'])

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))],
                                lr=float(vector['lr']))
    # A step past the last one the rate would be zero. In the vectors the step
    # before the first is step 0, where (1 - t / T) is one.
    schedulers = [
        PolyLR(optimizer, power=float(vector.get('power', 0.9)),
               end=total + 1,
               by_epoch=False)
    ]
    if any(phases):
        schedulers.append(
            MultiStepLR(
                optimizer,
                milestones=[phases.index(True)],
                gamma=float(vector['seg_lr_scale']),
                by_epoch=False))
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    # The published optimizer keeps the rate it had before step T.
    rates.append(rates[-1])
    np.testing.assert_allclose(rates, vector['lrs'], rtol=1e-12)
