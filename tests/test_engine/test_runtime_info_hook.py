from unittest.mock import MagicMock

import pytest
import torch

from mmwsss.registry import HOOKS

from ..fake_gpu import FakeGPU


def test_one_wait_for_all_values():
    hook = HOOKS.build(dict(type='mmwsss.RuntimeInfoHook'))
    with FakeGPU() as gpu:
        outputs = {
            f'loss_{i}': torch.tensor(i / 3).to(gpu.device)
            for i in range(5)
        }
        runner = MagicMock()
        with gpu.counting() as counts:
            hook.after_train_iter(runner, 0, None, outputs)
    assert counts.num_waits == 1
    assert outputs == {
        f'loss_{i}': pytest.approx(i / 3, rel=1e-7)
        for i in range(5)
    }
    noted = [call.args for call in runner.message_hub.update_scalar.mock_calls]
    assert noted == [(f'train/{k}', v) for k, v in outputs.items()]


def test_values_of_several_kinds():
    hook = HOOKS.build(dict(type='mmwsss.RuntimeInfoHook'))
    runner = MagicMock()
    outputs = dict(
        a=torch.tensor(1.5), b=torch.tensor([2], dtype=torch.int64), c=3)
    hook.after_train_iter(runner, 0, None, outputs)
    noted = {
        call.args[0]: float(call.args[1])
        for call in runner.message_hub.update_scalar.mock_calls
    }
    assert noted == {'train/a': 1.5, 'train/b': 2., 'train/c': 3.}
    hook.after_train_iter(runner, 0, None, None)
