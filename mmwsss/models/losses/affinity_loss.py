"""Losses over pairs of pixels, averaged over the global batch.

PSA (https://arxiv.org/abs/1803.10464, Sec. 3.2) and IRNet
(https://arxiv.org/abs/1904.05044, Sec. 4.3 to 4.5) balance their terms by
the number of pairs in each. How many there are differs a lot between images,
so a mean per process and then over processes would weight pairs by the company
they happen to be in; these means count the pairs of all processes.
"""
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

#: Added to counts and to the argument of the logarithm.
EPS = 1e-5


def global_means(sums: Sequence[Tensor],
                 counts: Sequence[Tensor],
                 eps: float = EPS) -> list[Tensor]:
    """Divide local sums so that their mean over processes is the global mean.

    Data parallel training averages gradients over the processes, therefore a
    process returns its sum times the number of processes by the global count.

    Args:
        sums (Sequence[Tensor]): Scalars, sums of this process.
        counts (Sequence[Tensor]): Integer scalars, how many values were
            summed up here.
        eps (float): Added to the global counts. Defaults to 1e-5, as in the
            published code of PSA and IRNet.

    Returns:
        list[Tensor]: Scalars; zero where there is nothing to average.
    """
    total = torch.stack(list(counts))
    all_reduce(total)
    sums = torch.stack(list(sums))
    means = get_world_size() * sums / (total.to(sums.dtype) + eps)
    return list(means.unbind())


def _masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0).sum()


def affinity_terms(affinity: Tensor, bg_pos: Tensor, fg_pos: Tensor,
                   neg: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy of affinities in three groups of pairs (PSA, Sec. 3.2).

    Args:
        affinity (Tensor): (N, P, n) in [0, 1].
        bg_pos (Tensor): Bool (N, P, n), pairs of background pixels.
        fg_pos (Tensor): Bool (N, P, n), pairs of one foreground class.
        neg (Tensor): Bool (N, P, n), pairs of different classes.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Scalars: background, foreground and
        negative term, each the mean over its pairs in the global batch.
    """
    affinity = affinity.float()
    alike = -torch.log(affinity + EPS)
    unlike = -torch.log(1 + EPS - affinity)
    bg, fg, different = global_means(
        [
            _masked_sum(alike, bg_pos),
            _masked_sum(alike, fg_pos),
            _masked_sum(unlike, neg)
        ], [mask.sum() for mask in (bg_pos, fg_pos, neg)])
    return bg, fg, different


def affinity_loss(affinity: Tensor, bg_pos: Tensor, fg_pos: Tensor,
                  neg: Tensor) -> dict[str, Tensor]:
    """The weighted terms of the affinity loss (PSA, Sec. 3.2).

    Both positive terms have weight 1/4, the negative one 1/2. The affinity
    half of IRNet's loss is the same.

    Args:
        affinity (Tensor): (N, P, n) in [0, 1].
        bg_pos (Tensor): Bool (N, P, n), pairs of background pixels.
        fg_pos (Tensor): Bool (N, P, n), pairs of one foreground class.
        neg (Tensor): Bool (N, P, n), pairs of different classes.

    Returns:
        dict[str, Tensor]: ``loss_bg``, ``loss_fg`` and ``loss_neg``; the
        loss is their sum.
    """
    bg, fg, different = affinity_terms(affinity, bg_pos, fg_pos, neg)
    return dict(loss_bg=bg / 4, loss_fg=fg / 4, loss_neg=different / 2)


def displacement_terms(displacement: Tensor, offsets: Tensor, bg_pos: Tensor,
                       fg_pos: Tensor) -> tuple[Tensor, Tensor]:
    """L1 losses of IRNet's displacement field (Sec. 4.3).

    Pixels of one class shall point to one centroid: what they point at then
    differs by their offset. Background has no centroid: no difference.

    Args:
        displacement (Tensor): (N, 2, P, n), the displacement of the source
            minus that of the target, rows before columns.
        offsets (Tensor): (P, 2) of (dy, dx), target minus source.
        bg_pos (Tensor): Bool (N, P, n), pairs of background pixels.
        fg_pos (Tensor): Bool (N, P, n), pairs of one foreground class.

    Returns:
        tuple[Tensor, Tensor]: Scalars: foreground and background term, each
        the mean over both components of its pairs in the global batch.
    """
    displacement = displacement.float()
    error = (displacement - offsets.to(displacement).t()[..., None]).abs()
    fg, bg = global_means([
        _masked_sum(error, fg_pos[:, None]),
        _masked_sum(displacement.abs(), bg_pos[:, None])
    ], [2 * mask.sum() for mask in (fg_pos, bg_pos)])
    return fg, bg
