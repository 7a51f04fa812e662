"""Semantic affinity of neighbouring pixels (PSA)."""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmwsss.pseudo_labels.pixel_pairs import (
    from_slices,
    pair_labels,
    pair_offsets,
    scatter_pairs,
)
from mmwsss.registry import MODELS

from ..losses import affinity_loss


class _MeanDistance(torch.autograd.Function):
    """Mean absolute difference over channels, for all pairs.

    Autograd would keep the differences of all pairs, 1.2 GB for the
    published batch; the backward pass computes them anew.
    """

    @staticmethod
    def forward(ctx, maps: Tensor, views: list[tuple[slice, slice]],
                source: tuple[slice, slice]) -> Tensor:
        ctx.save_for_backward(maps)
        ctx.views, ctx.source = views, source
        start = maps[(..., *source)]
        return torch.stack([(start - maps[(..., *view)]).abs_().mean(1)
                            for view in views], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        maps, = ctx.saved_tensors
        total = torch.zeros_like(maps)
        start, total_start = maps[(..., *ctx.source)], total[(...,
                                                              *ctx.source)]
        for view, share in zip(ctx.views, grad.unbind(1)):
            step = (start - maps[(..., *view)]).sign_()
            step *= share[:, None] / maps.shape[1]
            total_start += step
            total[(..., *view)] -= step
        return total, None, None


def pair_affinity(maps: Tensor, offsets: np.ndarray, radius: int) -> Tensor:
    """exp(-mean |f_i - f_j|) of all pairs of pixels (PSA, Sec. 3.2).

    Args:
        maps (Tensor): Features (N, C, h, w).
        offsets (np.ndarray): (P, 2) of (dy, dx) within the radius.
        radius (int): In cells, see :mod:`mmwsss.pseudo_labels.pixel_pairs`.

    Returns:
        Tensor: float32 (N, P, n) in (0, 1].

    Raises:
        ValueError: If the map is too small for the radius.
    """
    rows, cols = from_slices(tuple(maps.shape[-2:]), radius)
    views = [(slice(rows.start + dy, rows.stop + dy),
              slice(cols.start + dx, cols.stop + dx))
             for dy, dx in offsets.tolist()]
    if not views:
        n = (rows.stop - rows.start) * (cols.stop - cols.start)
        return maps.new_zeros((len(maps), 0, n), dtype=torch.float32)
    distance = _MeanDistance.apply(maps.float(), views, (rows, cols))
    return torch.exp(-distance).flatten(2)


@MODELS.register_module()
class AffinityHead(BaseModule):
    """AffinityNet's head (PSA, Sec. 3.2): features whose distances say which
    neighbouring pixels belong to one class.

    Some feature maps are reduced by 1x1 convolutions, concatenated and mixed
    by another one; all have ELU and no bias. Maps of other sizes are brought
    to the size of the first.

    Args:
        in_channels (Sequence[int]): Of the backbone's feature maps, in their
            order. Defaults to (512, 1024, 4096), those of ResNet-38.
        channels (Sequence[int]): What each is reduced to.
            Defaults to (64, 128, 256).
        radius (int): Pairs are closer than this, in cells. Defaults to 5.
        shrink_radius (bool): SEAM's rule: a map whose smaller side s is below
            2 * radius + 1 gets the radius (s - 1) // 2. Without it, maps too
            small for the radius raise an error. Defaults to False.
        init_cfg (dict, optional): Initialisation. None is PSA's.
            Defaults to None.
    """

    def __init__(self,
                 in_channels: Sequence[int] = (512, 1024, 4096),
                 channels: Sequence[int] = (64, 128, 256),
                 radius: int = 5,
                 shrink_radius: bool = False,
                 init_cfg: dict | None = None) -> None:
        # PyTorch's normal Kaiming for the reductions, as PSA does.
        super().__init__(init_cfg or dict(
            type='Kaiming',
            layer='Conv2d',
            mode='fan_in',
            override=dict(
                type='Xavier', name='mix', gain=4, distribution='uniform')))
        if len(in_channels) != len(channels):
            raise ValueError(
                'AffinityHead reduces each feature map: in_channels '
                f'{tuple(in_channels)} and channels {tuple(channels)} must '
                'be equally long.')
        self.radius = radius
        self.shrink_radius = shrink_radius
        self.reduce = nn.ModuleList(
            nn.Conv2d(c, d, 1, bias=False)
            for c, d in zip(in_channels, channels))
        self.mix = nn.Conv2d(sum(channels), sum(channels), 1, bias=False)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Features to compare.

        Args:
            feats (Sequence[Tensor]): Maps (N, C_i, h_i, w_i).

        Returns:
            Tensor: (N, sum of channels, h, w) at the first map's size.

        Raises:
            ValueError: If the number of maps is another.
        """
        if len(feats) != len(self.reduce):
            raise ValueError(
                f'AffinityHead reads {len(self.reduce)} feature maps, the '
                f'backbone gives {len(feats)}. Set its out_indices.')
        size = feats[0].shape[-2:]
        maps = [F.elu(conv(x)) for conv, x in zip(self.reduce, feats)]
        maps = [
            x if x.shape[-2:] == size else F.interpolate(
                x, size=size, mode='bilinear', align_corners=False)
            for x in maps
        ]
        return F.elu(self.mix(torch.cat(maps, 1)))

    def map_radius(self, size: tuple[int, int]) -> int:
        """Radius on a map of this size.

        Args:
            size (tuple[int, int]): Height and width in cells.

        Returns:
            int: In cells; 1 means that there are no pairs.
        """
        if self.shrink_radius and min(size) < 2 * self.radius + 1:
            return max((min(size) - 1) // 2, 1)
        return self.radius

    def affinity(self, feats: Sequence[Tensor]) -> Tensor:
        """Affinities of all pairs.

        Args:
            feats (Sequence[Tensor]): Maps (N, C_i, h_i, w_i).

        Returns:
            Tensor: (N, P, n), see :mod:`mmwsss.pseudo_labels.pixel_pairs`.

        Raises:
            ValueError: If the map is too small for the radius.
        """
        maps = self(feats)
        radius = self.map_radius(maps.shape[-2:])
        return pair_affinity(maps, pair_offsets(radius), radius)

    def dense_affinity(self,
                       feats: Sequence[Tensor]) -> tuple[Tensor, np.ndarray]:
        """Affinities laid out for the random walk.

        Args:
            feats (Sequence[Tensor]): Maps (N, C_i, h_i, w_i).

        Returns:
            tuple[Tensor, np.ndarray]: (N, P, h, w), zero where a pair does
            not exist, and the offsets (P, 2).

        Raises:
            ValueError: If the map is too small for the radius.
        """
        maps = self(feats)
        size = tuple(maps.shape[-2:])
        radius = self.map_radius(size)
        offsets = pair_offsets(radius)
        values = pair_affinity(maps, offsets, radius)
        return scatter_pairs(values, size, radius, offsets), offsets

    def loss(self, feats: Sequence[Tensor],
             label: Tensor) -> dict[str, Tensor]:
        """Affinity loss against label maps.

        Args:
            feats (Sequence[Tensor]): Maps (N, C_i, h_i, w_i).
            label (Tensor): Integers (N, h, w) at the first map's size; 0
                background, 255 ignored, all else stands for classes of the
                image.

        Returns:
            dict[str, Tensor]: See
            :func:`~mmwsss.models.losses.affinity_loss`.

        Raises:
            ValueError: If the sizes differ or are too small for the radius.
        """
        maps = self(feats)
        size = tuple(maps.shape[-2:])
        if tuple(label.shape[-2:]) != size:
            raise ValueError(
                f'The labels have {tuple(label.shape[-2:])} cells (height, '
                f'width), the feature maps {size}. The stride of '
                'mmwsss.AffinityLabel must be the one of the first map.')
        radius = self.map_radius(size)
        offsets = pair_offsets(radius)
        return affinity_loss(
            pair_affinity(maps, offsets, radius),
            *pair_labels(label, radius, offsets))
