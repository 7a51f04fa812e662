"""A teacher's weights."""
import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.testing import assert_close

from mmwsss.models.utils.momentum_copy import MomentumCopy
from tests.fake_gpu import FakeGPU


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def walk(model, steps=4, seed=1):
    """Random steps of a training."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for value in model.parameters():
            value.data += torch.randn(value.shape, generator=generator).to(
                value.device)
        model[1].running_mean += 1
        yield model


def test_it_is_mmengines_average():
    ours = MomentumCopy(network(), 0.9)
    theirs = ExponentialMovingAverage(network(), momentum=0.1)
    for value in (*ours.parameters(), *theirs.parameters()):
        value.data.fill_(7.)  # Whatever it was made with.
    for model in walk(network()):
        ours.update_parameters(model)
        theirs.update_parameters(model)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], value)
    assert int(ours.steps) == 4
    assert not any(p.requires_grad for p in ours.parameters())
    x = torch.randn(5, 3)
    assert torch.equal(ours(x), ours.module(x))


def test_resumed():
    whole, first = MomentumCopy(network(), 0.9), MomentumCopy(network(), 0.9)
    states = [copy.deepcopy(m) for m in walk(network())]
    for model in states:
        whole.update_parameters(model)
    for model in states[:2]:
        first.update_parameters(model)
    second = MomentumCopy(network(), 0.9)
    second.load_state_dict(first.state_dict())
    for model in states[2:]:
        second.update_parameters(model)
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_on_a_device_it_makes_nobody_wait():
    expected = MomentumCopy(network(), 0.9)
    for model in walk(network()):
        expected.update_parameters(model)
    with FakeGPU() as gpu:
        found = MomentumCopy(network(), 0.9).to(gpu.device)
        waits = []
        for model in walk(network().to(gpu.device)):
            with gpu.counting() as counts:
                found.update_parameters(model)
            waits.append(counts.num_waits)
        assert waits[1:] == [0, 0, 0]
        for name, value in found.state_dict().items():
            assert_close(value.cpu(), expected.state_dict()[name])


def test_among_other_parameters():
    """The source may hold its own copy, as a model with a teacher does."""
    model = nn.Module()
    model.net = network()
    part = MomentumCopy(model, 0.9)
    model.teacher = part
    before = copy.deepcopy(model.net.state_dict())
    part.update_parameters(model)
    for name, value in before.items():
        assert torch.equal(part.module.net.state_dict()[name], value)


def test_further_buffers_of_the_source():
    """Buffers meet by name, wherever new ones were added."""
    model = network()
    part = MomentumCopy(model, 0.9)
    model[0].register_buffer('bank', torch.full((4, ), 7.))
    model[1].running_mean += 1
    part.update_parameters(model)
    assert_close(part.module[1].running_mean, torch.ones(4))
    assert_close(part.module[1].running_var, torch.ones(4))


@pytest.mark.parametrize('keep', [0., 0.5, 1., 1.5])
def test_refusals(keep):
    with pytest.raises(ValueError, match=f'must lie in .0.5, 1.*{keep}'):
        MomentumCopy(network(), keep)
