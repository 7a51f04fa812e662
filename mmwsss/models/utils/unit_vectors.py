"""Vectors of unit length, with a short backward pass."""
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _UnitVectors(torch.autograd.Function):
    """x / max(|x|, eps), whose gradient is (g - u (u . g)) / max(|x|, eps).

    Autograd would take three times as many steps for it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
        divisor = length.clamp(min=eps)
        unit = x / divisor
        ctx.save_for_backward(unit, divisor)
        ctx.dim, ctx.eps = dim, eps
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        unit, divisor = ctx.saved_tensors
        along = (grad * unit).sum(dim=ctx.dim, keepdim=True)
        # A shorter vector is divided by a constant.
        along.masked_fill_(divisor <= ctx.eps, 0)
        return torch.addcmul(grad, unit, along, value=-1) / divisor, None, None


def unit_vectors(x: Tensor, dim: int = -1, eps: float = 1e-12) -> Tensor:
    """The same as ``torch.nn.functional.normalize``.

    Args:
        x (Tensor): Of any shape.
        dim (int): Along which vectors lie. Defaults to -1.
        eps (float): What shorter vectors are divided by. Defaults to 1e-12.

    Returns:
        Tensor: Of the same shape; differentiable once.
    """
    return _UnitVectors.apply(x, dim, eps)
