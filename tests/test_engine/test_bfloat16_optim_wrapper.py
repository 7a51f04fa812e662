import torch
from torch import nn

from mmwsss.registry import OPTIM_WRAPPERS


def test_forward_in_bfloat16_update_in_float32():
    torch.manual_seed(0)
    model, twin = nn.Linear(8, 8), nn.Linear(8, 8)
    twin.load_state_dict(model.state_dict())
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='mmwsss.BFloat16OptimWrapper', optimizer=optimizer))
    x = torch.randn(4, 8)
    with wrapper.optim_context(model):
        out = model(x)
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().pow(2).mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    # The step is what float32 would have done, up to bfloat16's rounding.
    twin(x).pow(2).mean().backward()
    step, exact = before - model.weight.detach(), 0.1 * twin.weight.grad
    assert (step - exact).abs().max() < 0.02 * exact.abs().max()
    assert model(x).dtype == torch.float32
