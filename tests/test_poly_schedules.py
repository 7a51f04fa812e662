"""The learning rates of whole trainings, step by step."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR

from .test_tools import ROOT


def learning_rates(schedule, epoch_length):
    """Of all steps of the training, as mmengine's runner makes them."""
    cfg = Config.fromfile(ROOT / f'configs/_base_/schedules/{schedule}.py')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))],
                                lr=cfg.optim_wrapper.optimizer.lr)
    scheduler, = (dict(s) for s in cfg.param_scheduler)
    assert scheduler.pop('type') == 'PolyLR'
    assert scheduler.pop('convert_to_iter_based')
    poly = PolyLR.build_iter_from_epoch(
        optimizer=optimizer, epoch_length=epoch_length, **scheduler)
    rates = []
    for _ in range(cfg.train_cfg.max_epochs * epoch_length):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        poly.step()
    return np.array(rates)


def law(total):
    """What the papers' scripts set before each of their steps."""
    return 0.01 * (1 - np.arange(total) / total)**0.9


@pytest.mark.parametrize('schedule,batch_size,total',
                         [('sgd_seam', 8, 10576), ('sgd_vwl', 16, 3966)])
def test_published_length(schedule, batch_size, total):
    rates = learning_rates(schedule, 10582 // batch_size)
    assert len(rates) == total
    np.testing.assert_allclose(rates, law(total), rtol=1e-6)


@pytest.mark.parametrize('epoch_length', [1, 37, 94, 661, 1322])
@pytest.mark.parametrize('schedule', ['sgd_seam', 'sgd_vwl'])
def test_epochs_of_other_lengths(schedule, epoch_length):
    rates = learning_rates(schedule, epoch_length)
    # A step or two off.
    assert np.abs(rates - law(len(rates))).max() <= \
        0.01 * 2 / len(rates)**0.9 + 1e-12


@pytest.mark.parametrize('epoch_length', [20, 661])
def test_segmenter_falls_to_a_tenth(epoch_length):
    """Published: (1e-4 - 1e-5) (1 - t)^0.9 + 1e-5."""
    rates = learning_rates('sgd_segmenter_100e', epoch_length) / 1e-4
    total = 100 * epoch_length
    assert len(rates) == total
    published = 0.9 * (1 - np.arange(total) / total)**0.9 + 0.1
    assert rates[0] == 1
    assert np.abs(rates - published).max() < 0.02
