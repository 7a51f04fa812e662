import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.utils.unit_vectors import unit_vectors


@pytest.mark.parametrize('dim', [0, 1, -1])
def test_value_and_gradient_of_normalize(dim):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5)
    x[:, 1], x[1], x[..., 2] = 0, 1e-9 * x[1], 1e-9 * x[..., 2]
    grads = []
    for function in (unit_vectors, F.normalize):
        leaf = x.clone().requires_grad_()
        out = function(leaf, dim=dim, eps=1e-8)
        (out * torch.arange(60.).view(3, 4, 5)).sum().backward()
        grads.append((out, leaf.grad))
    for ours, theirs in zip(*grads):
        assert ours.abs().max() > 0
        assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_numerical_gradient():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_vectors, x)
