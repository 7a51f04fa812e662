"""InfoNCE with negatives that are drawn for each query."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils.prototypes import EPS
from ..utils.unit_vectors import unit_vectors

# Entries of drawn vectors, or of products with all keys, that exist at a time.
BLOCK = 2**22
# Up to so many keys per drawn one, products with all keys are cheaper than
# gathering the drawn ones.
DENSE = 32


class _DrawnProducts(torch.autograd.Function):
    """Products of each query with the keys drawn for it.

    All drawn keys at once would take Q * M * D numbers, hundreds of MiB in
    the paper's setting, and autograd would keep them.
    """

    @staticmethod
    def forward(ctx, queries: Tensor, keys: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(keys, index)
        dense = len(keys) <= DENSE * index.shape[1]
        width = len(keys) if dense else index.shape[1] * keys.shape[1]
        step = max(BLOCK // max(width, 1), 1)
        products = queries.new_empty(index.shape)
        for out, block, some in zip(
                products.split(step), queries.split(step), index.split(step)):
            if dense:
                torch.gather(block @ keys.T, 1, some, out=out)
            else:
                torch.bmm(keys[some], block[..., None], out=out[..., None])
        return products

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        keys, index = ctx.saved_tensors
        return F.embedding_bag(
            index, keys, mode='sum',
            per_sample_weights=grad.contiguous()), None, None


def info_nce(queries: Tensor, positives: Tensor, keys: Tensor, index: Tensor,
             temperature: float) -> Tensor:
    """InfoNCE of each query with one positive and M drawn negatives.

    -log e^{cos(q, p) / t} / (e^{cos(q, p) / t} + sum_n e^{cos(q, n) / t}),
    where a vector shorter than 1e-8 counts as zero (FBR, Eqs. 7 and 9).

    Args:
        queries (Tensor): (Q, D), the only ones to get a gradient.
        positives (Tensor): (Q, D).
        keys (Tensor): (B, D).
        index (Tensor): Rows of ``keys`` that are the negatives of each
            query, int64 (Q, M).
        temperature (float): t, above 0.

    Returns:
        Tensor: (Q,), not negative.
    """
    return contrast(*with_positives(queries, positives, temperature), keys,
                    index)


def with_positives(queries: Tensor, positives: Tensor,
                   temperature: float) -> tuple[Tensor, Tensor]:
    """What queries need to be contrasted with one set of keys or more.

    Args:
        queries (Tensor): (Q, D).
        positives (Tensor): (Q, D).
        temperature (float): t, above 0.

    Returns:
        tuple[Tensor, Tensor]: Queries of length 1 / t, (Q, D), and
        cos(q, p) / t of each, (Q,).
    """
    queries = unit_vectors(queries, dim=1, eps=EPS) / temperature
    positives = F.normalize(positives.detach(), eps=EPS)
    return queries, (queries * positives).sum(dim=1)


def contrast(queries: Tensor, own: Tensor, keys: Tensor,
             index: Tensor) -> Tensor:
    """:func:`info_nce` of what :func:`with_positives` gives.

    Args:
        queries (Tensor): (Q, D).
        own (Tensor): (Q,).
        keys (Tensor): See :func:`info_nce`.
        index (Tensor): Likewise.

    Returns:
        Tensor: (Q,).
    """
    keys = F.normalize(keys.detach(), eps=EPS)
    others = _DrawnProducts.apply(queries, keys, index)
    # As -log a / (a + b), but precise where that is small.
    return F.softplus(others.logsumexp(dim=1) - own)


def class_weights(counts: Sequence[int], num_classes: int) -> list[float]:
    """What a query counts in a mean over classes of means over queries.

    Args:
        counts (Sequence[int]): Queries of each class.
        num_classes (int): Classes averaged over, those without queries
            included.

    Returns:
        list[float]: For a query of each class; 0 where there is none.
    """
    return [1 / (count * num_classes) if count else 0. for count in counts]
