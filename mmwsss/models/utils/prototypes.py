"""Vectors that stand for a class, and how alike classes are."""

import torch
import torch.nn.functional as F
from torch import Tensor

#: Below this length a vector counts as zero in a cosine.
EPS = 1e-8


def class_prototypes(features: Tensor, scores: Tensor, k: int) -> Tensor:
    """Mean of the k best features of each class in the whole batch.

    sum(s z) / sum(s) over the k positions with the highest score s of the
    class (FBR, "Prototype estimation").

    Args:
        features (Tensor): (P, D).
        scores (Tensor): Of each class at all positions, (C, P); zero where a
            position belongs to another class.
        k (int): From 1 to P.

    Returns:
        Tensor: (C, D), zero where the scores of a class are.
    """
    weights, rows = scores.topk(k, dim=1)
    sums = torch.einsum('ck,ckd->cd', weights, features[rows])
    total = weights.sum(dim=1, keepdim=True)
    return sums / torch.where(total == 0, 1, total)


def semantic_graph(prototypes: Tensor,
                   temperature: float,
                   views: Tensor | None = None) -> Tensor:
    """How likely each other class is drawn as a negative of a class.

    The softmax over the other classes of cos(P_i, P_j) / temperature, so
    similar classes are met more often (FBR; the active sampling of ReCo,
    arXiv 2104.04465).

    Args:
        prototypes (Tensor): Of the present classes (C, D).
        temperature (float): Above 0.
        views (Tensor, optional): int64 (C,), the view that each belongs to;
            a class never meets those of another view. None is one view.

    Returns:
        Tensor: (C, C), zero on the diagonal; a row of zeros for the only
        class of a view.
    """
    unit = F.normalize(prototypes, eps=EPS)
    cosines = unit @ unit.T / temperature
    if views is not None:
        cosines.masked_fill_(views[:, None] != views, -float('inf'))
    return cosines.fill_diagonal_(-float('inf')).softmax(dim=1).nan_to_num(0)


def draw_negatives(labels: Tensor,
                   classes: Tensor,
                   graph: Tensor,
                   query_labels: Tensor,
                   num: int,
                   generator: torch.Generator | None = None) -> Tensor:
    """Rows of other classes: a class by the graph, then any of its pixels.

    Args:
        labels (Tensor): Class of every row, int64 (P,).
        classes (Tensor): The present ones without background, ascending,
            int64 (C,), at least two.
        graph (Tensor): (C, C), see :func:`semantic_graph`.
        query_labels (Tensor): Classes of the queries, int64 (Q,).
        num (int): Negatives of each query, M.
        generator (Generator, optional): On the device of the labels.

    Returns:
        Tensor: Rows int64 (Q, M), drawn with replacement.
    """
    if len(query_labels) == 0:
        return labels.new_empty(0, num)
    queries = torch.searchsorted(classes, query_labels)
    drawn = torch.multinomial(
        graph[queries], num, replacement=True, generator=generator)
    ordered, rows = labels.sort(stable=True)
    starts = torch.searchsorted(ordered, classes)
    counts = torch.searchsorted(ordered, classes, right=True) - starts
    shares = torch.rand(
        drawn.shape, generator=generator, device=labels.device)
    # float32 may round up to the count itself.
    steps = (shares * counts[drawn]).long().minimum(counts[drawn] - 1)
    return rows[starts[drawn] + steps]
