"""Which pixels are sure, which are hard: pseudo labels of a feature map.

As in FBR (arXiv 2406.15755), read from its published code. Planes of all maps
are the background, then the K classes.
"""
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Keeps constant maps finite.
EPS = 1e-5


class PixelScores(NamedTuple):
    """What is known about each position before any is chosen.

    Attributes:
        prob (Tensor): Probabilities (N, K + 1, h, w).
        scores (Tensor): How strongly each class shows, (N, K + 1, h, w).
        labels (Tensor): Pseudo labels int64 (N, h, w).
    """
    prob: Tensor
    scores: Tensor
    labels: Tensor


def absent_classes(tags: Tensor) -> Tensor:
    """Planes of classes that an image lacks.

    Args:
        tags (Tensor): Multi-hot tags (N, K). Classes that nobody knows about
            (nan) count as absent.

    Returns:
        Tensor: bool (N, K + 1, 1, 1); the background is never absent.
    """
    return F.pad(~(tags > 0), (1, 0))[..., None, None]


def scores_from_logits(logits: Tensor,
                       tags: Tensor | None = None) -> PixelScores:
    """Of a network that segments: background and classes compete.

    The softmax over planes, each plane brought to [0, 1]; a pixel belongs to
    the plane that is then highest.

    Args:
        logits (Tensor): (N, K + 1, h, w).
        tags (Tensor, optional): Multi-hot tags (N, K). Classes that an image
            lacks are not assigned; at its own maximum nearly every one of
            them would reach 1. None assigns them, as the published code
            does. Defaults to None.

    Returns:
        PixelScores: The planes of absent classes stay in ``prob`` and
        ``scores``.
    """
    prob = logits.softmax(dim=1)
    low = prob.amin(dim=(2, 3), keepdim=True)
    high = prob.amax(dim=(2, 3), keepdim=True)
    scores = (prob - low) / (high - low + EPS)
    allowed = scores
    if tags is not None:
        allowed = scores.masked_fill(absent_classes(tags), -float('inf'))
    return PixelScores(prob, scores, allowed.argmax(dim=1))


def scores_from_maps(maps: Tensor,
                     tags: Tensor,
                     background: float = 0.1) -> PixelScores:
    """Of CAMs: the background is where none is high.

    With a = relu(map), m and M its extremes: values below m + 1e-5 become
    zero, then the map is (a - m - 1e-5) / (M - m + 1e-5). It is not clipped,
    so where a was cut off it may be negative, and a map without positive
    values is -1.

    Args:
        maps (Tensor): Raw or refined maps of the classes (N, K, h, w).
        tags (Tensor): Multi-hot tags (N, K).
        background (float): Constant score of the background.
            Defaults to 0.1.

    Returns:
        PixelScores: ``prob`` is the softmax over all planes, where those of
        absent classes are zero; in ``scores`` they are not.
    """
    maps = maps.relu()
    low = maps.amin(dim=(2, 3), keepdim=True)
    high = maps.amax(dim=(2, 3), keepdim=True)
    maps = maps.masked_fill(maps < low + EPS, 0)
    scores = F.pad((maps - low - EPS) / (high - low + EPS),
                   (0, 0, 0, 0, 1, 0), value=background)
    prob = scores.masked_fill(absent_classes(tags), 0).softmax(dim=1)
    return PixelScores(prob, scores, prob.argmax(dim=1))


def own_scores(scores: Tensor, labels: Tensor) -> Tensor:
    """Score of each position for the class it belongs to.

    Args:
        scores (Tensor): (N, K + 1, h, w).
        labels (Tensor): int64 (N, h, w).

    Returns:
        Tensor: (N, h, w).
    """
    return scores.gather(1, labels[:, None])[:, 0]


def sure_pixels(scores: Tensor,
                labels: Tensor,
                ratio: float,
                min_score: float = 0.05) -> tuple[Tensor, Tensor]:
    """The better part of the pixels of each class of each image.

    Of the n pixels of a class that score above ``min_score`` for it, in
    ascending order, number floor(n * ratio), counted from 0, is the
    threshold; pixels above it are sure. None is if n is 0 or 1. The
    background has no sure pixels.

    Args:
        scores (Tensor): (N, K + 1, h, w).
        labels (Tensor): int64 (N, h, w).
        ratio (float): In [0, 1).
        min_score (float): See above. Defaults to 0.05.

    Returns:
        tuple[Tensor, Tensor]: bool (N, h, w), and the thresholds
        (N, K + 1), infinite where there are no pixels.
    """
    num, planes = scores.shape[:2]
    own = own_scores(scores, labels)
    # Number of the pair of image and class.
    group = labels + planes * torch.arange(
        num, device=labels.device)[:, None, None]
    listed = (labels > 0) & (own > min_score)
    # Those that are not listed are a last group, so that sizes are fixed.
    listing = torch.where(listed, group, num * planes).flatten()
    values, order = own.flatten().sort()
    _, stable = listing[order].sort(stable=True)
    # Group after group, ascending in each.
    values = values[stable]
    counts = count_labels(listing, num * planes + 1)[:-1]
    picks = counts.cumsum(0) - counts + (counts.double() * ratio).long()
    thresholds = torch.where(
        counts == 0, float('inf'),
        values[picks.clamp(max=len(values) - 1)])
    sure = (labels > 0) & (own > thresholds[group])
    return sure, thresholds.view(num, planes)


def pixel_entropy(prob: Tensor) -> Tensor:
    """Entropy of each position's distribution over planes.

    Args:
        prob (Tensor): (N, K + 1, h, w).

    Returns:
        Tensor: (N, h, w) in nats, of the type of ``prob``.
    """
    # In double precision, so that equal positions get equal values in
    # whatever order the planes are summed up.
    p = prob.double()
    return -torch.xlogy(p, p + 1e-10).sum(dim=1).to(prob.dtype)


def hard_pixels(entropy: Tensor, sure: Tensor,
                quantile: float) -> tuple[Tensor, Tensor]:
    """Unsure positions of which the network is not certain either.

    Args:
        entropy (Tensor): (N, h, w).
        sure (Tensor): bool (N, h, w).
        quantile (float): Of the entropy of each image, interpolated; a hard
            position exceeds it. In [0, 1].

    Returns:
        tuple[Tensor, Tensor]: bool (N, h, w), and the quantiles (N,).
    """
    values = entropy.flatten(1).sort(dim=1)[0]
    # As torch.quantile, whose place is in the numbers' own precision.
    place = float(torch.tensor(quantile, dtype=values.dtype) *
                  (values.shape[1] - 1))
    below = math.floor(place)
    bounds = torch.lerp(values[:, below], values[:, math.ceil(place)],
                        place - below)
    return ~sure & (entropy > bounds[:, None, None]), bounds


def count_labels(labels: Tensor, num: int) -> Tensor:
    """How often each label occurs.

    ``bincount`` would have a GPU tell the largest label first.

    Args:
        labels (Tensor): int64 (..., P), from 0 to ``num`` - 1.
        num (int): Number of labels.

    Returns:
        Tensor: int64 (..., num).
    """
    counts = labels.new_zeros((*labels.shape[:-1], num))
    return counts.scatter_add_(-1, labels, torch.ones_like(labels))


def first_true(mask: Tensor, count: int) -> Tensor:
    """Where a mask is true, given how often it is.

    ``nonzero`` would have a GPU tell the number.

    Args:
        mask (Tensor): Bool (P,).
        count (int): Number of true entries.

    Returns:
        Tensor: int64 (count,), ascending.
    """
    if mask.device.type == 'cpu':
        return mask.nonzero()[:, 0]
    return mask.to(torch.uint8).argsort(descending=True, stable=True)[:count]


def select_queries(labels: Tensor,
                   hard: Tensor,
                   max_queries: int | None = None,
                   generator: torch.Generator | None = None,
                   counts: Sequence[int] | None = None) -> Tensor:
    """The hard pixels of all classes, at most so many of each at random.

    Args:
        labels (Tensor): int64 (P,), background 0.
        hard (Tensor): bool (P,).
        max_queries (int, optional): Per class. None takes all.
            Defaults to None.
        generator (Generator, optional): On the device of the labels.
        counts (Sequence[int], optional): How many hard pixels of the
            background and of each class there are. None asks the device.

    Returns:
        Tensor: Rows int64 (Q,), class after class and ascending in each.
    """
    wanted = hard & (labels > 0)
    if counts is None:
        total = int(wanted.sum())
    else:
        total = sum(counts[1:])
    rows = first_true(wanted, total)
    if max_queries is not None:
        shuffled = rows[torch.randperm(
            len(rows), generator=generator, device=rows.device)]
        classes, order = labels[shuffled].sort(stable=True)
        # How many of its class came before.
        rank = torch.arange(
            len(rows), device=rows.device) - torch.searchsorted(
                classes, classes)
        first = rank < max_queries
        if counts is None:
            total = int(first.sum())
        else:
            total = sum(min(count, max_queries) for count in counts[1:])
        rows = shuffled[order[first_true(first, total)]].sort()[0]
    return rows[labels[rows].sort(stable=True)[1]]
