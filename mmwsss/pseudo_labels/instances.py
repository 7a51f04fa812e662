"""Instances from CAMs, boundaries and a displacement field (IRNet).

IRNet (https://arxiv.org/abs/1904.05044, Sec. 4.2, 5 and the supplement) tells
the objects of a class apart by where displacements lead: cells of one object
lead to one place. The CAMs are split by these places, and each part
walks on its own up to the boundaries.
"""
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .random_walk import walk_scores_irn


@torch.no_grad()
def refine_centroids(field: Tensor, num_steps: int = 300) -> Tensor:
    """Where the displacements lead from each cell (Sec. 4.2, Eq. 3).

    Every cell starts at its own place. A step adds the displacement of where
    it stands, read bilinearly, and stays on the map. As in the published
    code, only the last place is rounded.

    Args:
        field (Tensor): (2, h, w) displacements in cells, rows before columns.
        num_steps (int): Defaults to 300.

    Returns:
        Tensor: int64 (2, h, w), row and column of the cell arrived at.
    """
    _, h, w = field.shape
    cells = field.float().permute(1, 2, 0).reshape(-1, 2)
    rows, columns = torch.meshgrid(
        torch.arange(h, device=field.device),
        torch.arange(w, device=field.device),
        indexing='ij')
    last = cells.new_tensor((h - 1, w - 1))
    place = torch.stack((rows, columns), -1).reshape(-1, 2).to(cells)
    for _ in range(num_steps):
        low = place.floor()
        # On the last row or column the next one has weight 0.
        high = torch.minimum(low + 1, last)
        below, right = (place - low).unbind(1)
        (y0, x0), (y1, x1) = low.long().unbind(1), high.long().unbind(1)
        step = 0
        for y, x, weight in ((y0, x0, (1 - below) * (1 - right)),
                             (y0, x1, (1 - below) * right),
                             (y1, x0, below * (1 - right)),
                             (y1, x1, below * right)):
            step = step + weight[:, None] * cells[y * w + x]
        place = torch.minimum((place + step).clamp(min=0), last)
    return place.round().long().t().reshape(2, h, w)


def cluster_cells(field: Tensor,
                  centroids: Tensor,
                  threshold: float = 2.5) -> Tensor:
    """Number the objects that cells belong to (supplement of IRNet).

    Cells whose displacement is short are centres; 4-connected centres are
    one. A cell belongs to the one that it arrives in.

    Args:
        field (Tensor): (2, h, w) displacements in cells.
        centroids (Tensor): int64 (2, h, w) of :func:`refine_centroids`.
        threshold (float): Displacements below this length, in cells, are
            short. Defaults to 2.5.

    Returns:
        Tensor: int64 (h, w), from 1; 0 for cells that arrive in no centre.
    """
    short = (field.float().norm(dim=0) < threshold).cpu().numpy()
    centres = torch.from_numpy(ndimage.label(short)[0].astype(np.int64))
    return centres.to(field.device)[centroids[0], centroids[1]]


def split_planes(cams: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
    """CAMs of each object.

    Cells that belong to no object are kept together, like one.

    Args:
        cams (Tensor): (k, h, w), not negative.
        clusters (Tensor): (h, w) of :func:`cluster_cells`.

    Returns:
        tuple[Tensor, Tensor]: Planes (m, h, w), all zero nowhere and class
        by class, and the index 0..k-1 of the class of each, int64 (m,).
    """
    own = clusters == clusters.unique()[:, None, None]
    planes = (cams[:, None] * own).flatten(0, 1)
    index = torch.arange(len(cams), device=cams.device)
    index = index.repeat_interleave(len(own))
    used = planes.flatten(1).any(1)
    return planes[used], index[used]


def find_fragments(scores: Tensor,
                   background: float = 0.25,
                   min_area: float = 0.01) -> tuple[Tensor, Tensor, Tensor]:
    """Connected parts of what each plane wins.

    Args:
        scores (Tensor): (m, H, W), not negative.
        background (float): Score that a plane has to exceed.
            Defaults to 0.25.
        min_area (float): Fragments smaller than this share of the image get
            score 0. Defaults to 0.01.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Of the n fragments, which do not
        overlap: masks bool (n, H, W), index of the plane int64 (n,), and the
        highest score on each float32 (n,). On the CPU.
    """
    size = tuple(scores.shape[1:])
    masks, index, best = [np.zeros((0, *size), bool)], [], []
    if len(scores):
        top, winner = scores.float().max(0)
        winner = winner.masked_fill(top <= background, -1).cpu().numpy()
        top = top.cpu().numpy()
        for plane in np.unique(winner[winner >= 0]):
            parts, count = ndimage.label(winner == plane)
            numbers = np.arange(1, count + 1)
            area = np.bincount(parts.ravel())[1:]
            score = ndimage.maximum(top, parts, numbers)
            masks.append(parts == numbers[:, None, None])
            index += [plane] * count
            best += np.where(area < min_area * top.size, 0, score).tolist()
    return (torch.from_numpy(np.concatenate(masks)),
            torch.tensor(index, dtype=torch.int64),
            torch.tensor(best, dtype=torch.float32))


@torch.no_grad()
def instances_irn(cams: Tensor,
                  edge: Tensor,
                  field: Tensor,
                  size: tuple[int, int],
                  num_steps: int = 300,
                  threshold: float = 2.5,
                  background: float = 0.25,
                  min_area: float = 0.01,
                  **walk: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Instances of one image (IRNet, Sec. 5).

    Args:
        cams (Tensor): (k, h, w) CAMs of the present classes, k may be 0.
        edge (Tensor): (h, w) edge probabilities.
        field (Tensor): (2, h, w) displacements in cells.
        size (tuple[int, int]): Height and width of the image in pixels.
        num_steps (int): See :func:`refine_centroids`. Defaults to 300.
        threshold (float): See :func:`cluster_cells`. Defaults to 2.5.
        background (float): See :func:`find_fragments`; the highest score of
            all is 1. Defaults to 0.25.
        min_area (float): See :func:`find_fragments`. Defaults to 0.01.
        **walk: ``radius``, ``beta``, ``log_steps`` and ``stride`` of
            :func:`~mmwsss.pseudo_labels.walk_scores_irn`.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Masks bool (n, H, W), index 0..k-1 of
        the class int64 (n,) and score float32 (n,) in [0, 1], on the CPU.
    """
    clusters = cluster_cells(field, refine_centroids(field, num_steps),
                             threshold)
    planes, index = split_planes(cams, clusters)
    scores = walk_scores_irn(planes, edge, size, **walk)
    masks, plane, score = find_fragments(scores, background, min_area)
    return masks, index.cpu()[plane], score
