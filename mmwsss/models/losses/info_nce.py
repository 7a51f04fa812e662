"""InfoNCE with negatives that are drawn for each query."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils.prototypes import EPS

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
    queries, positives, keys = (
        F.normalize(x, eps=EPS)
        for x in (queries, positives.detach(), keys.detach()))
    own = (queries * positives).sum(dim=1) / temperature
    others = _DrawnProducts.apply(queries, keys, index) / temperature
    # As -log a / (a + b), but precise where that is small.
    return F.softplus(others.logsumexp(dim=1) - own)


def class_weights(query_labels: Tensor, num_classes: int) -> Tensor:
    """What each query counts in a mean over classes of means over queries.

    Args:
        query_labels (Tensor): Class of each query, int64 (Q,).
        num_classes (int): Classes averaged over, those without queries
            included.

    Returns:
        Tensor: (Q,), summing up to the share of classes with queries.
    """
    # Not bincount, which has a GPU tell the largest label first.
    ordered = query_labels.sort()[0]
    counts = torch.searchsorted(ordered, query_labels, right=True) - \
        torch.searchsorted(ordered, query_labels)
    return 1 / (counts * num_classes)
