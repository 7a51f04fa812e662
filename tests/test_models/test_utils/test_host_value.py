import copy

import torch
from torch import nn

from mmwsss.models.utils.host_value import HostValue

from ...fake_gpu import FakeGPU


class Counter(nn.Module):

    def __init__(self):
        super().__init__()
        self.register_buffer('step', torch.tensor(0))
        self.known = HostValue()

    def forward(self):
        value = self.known.read(self.step)
        self.known.write(self.step, value + 1)
        return value


def test_counts_with_one_wait():
    with FakeGPU() as gpu:
        counter = Counter().to(gpu.device)
        with gpu.counting() as counts:
            assert [counter() for _ in range(4)] == [0, 1, 2, 3]
        assert counts.num_waits == 1
        assert int(counter.step) == 4


def test_notices_who_else_writes():
    counter = Counter()
    assert [counter(), counter()] == [0, 1]
    counter.load_state_dict(dict(step=torch.tensor(7)))
    assert counter() == 7
    counter.step.fill_(3)
    assert counter() == 3
    counter.step += 2
    assert counter() == 6
    counter.step = torch.tensor(11)
    assert counter() == 11
    twin = copy.deepcopy(counter)
    assert [twin(), twin(), counter()] == [12, 13, 12]
