import pytest
import torch

from mmwsss.registry import HOOKS


@pytest.mark.parametrize('wanted', [True, False])
@pytest.mark.parametrize('loop', ['val', 'test'])
def test_only_training_measures(monkeypatch, wanted, loop):
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', wanted)
    hook = HOOKS.build(dict(type='mmwsss.CudnnBenchmarkHook'))
    for _ in range(2):
        getattr(hook, f'before_{loop}')(None)
        assert not torch.backends.cudnn.benchmark
        getattr(hook, f'after_{loop}')(None)
        assert torch.backends.cudnn.benchmark is wanted
