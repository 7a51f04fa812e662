"""Displacement field towards the centroids of instances (IRNet)."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.pseudo_labels.pixel_pairs import (
    offsets_on,
    pair_values,
    path_offsets,
)
from mmwsss.registry import MODELS

from ..losses import displacement_terms
from .edge_head import check_maps, conv_norm, enlarge


@MODELS.register_module()
class DisplacementHead(BaseModule):
    """IRNet's displacement branch (Sec. 4.1).

    The three deepest of five feature maps meet at the size of the third, the
    result and the other two at the size of the second. The field is known up
    to a constant only, therefore ``running_mean`` is taken off in evaluation;
    :meth:`mmwsss.models.segmentors.IRNet.calibrate_displacement` sets it.

    Args:
        in_channels (Sequence[int]): Of the backbone's five feature maps.
            Defaults to those of ResNet-50 with its stem.
        strides (Sequence[int]): Pixels of the image per cell of each map.
            Defaults to (4, 4, 8, 16, 16).
        channels (Sequence[int]): What each map is reduced to; the last also
            is the width of the mixing layers.
            Defaults to (64, 128, 256, 256, 256).
        num_groups (Sequence[int]): Of the normalisation of each.
            Defaults to (8, 16, 16, 16, 16).
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 256, 512, 1024, 2048),
        strides: Sequence[int] = (4, 4, 8, 16, 16),
        channels: Sequence[int] = (64, 128, 256, 256, 256),
        num_groups: Sequence[int] = (8, 16, 16, 16, 16)
    ) -> None:
        super().__init__()
        self.factors = [s // strides[2] for s in strides]
        self.deep_factor = strides[2] // strides[1]
        width, groups = channels[-1], num_groups[-1]
        self.branches = nn.ModuleList(
            conv_norm(c, d, g)
            for c, d, g in zip(in_channels, channels, num_groups))
        self.mix_deep = conv_norm(sum(channels[2:]), width, groups)
        self.mix_all = conv_norm(sum(channels[:2]) + width, width, groups)
        self.predict = nn.Conv2d(width, 2, 1, bias=False)
        self.register_buffer('running_mean', torch.zeros(2))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Displacement in cells, rows before columns.

        Args:
            feats (Sequence[Tensor]): Five maps (N, C_i, h_i, w_i).

        Returns:
            Tensor: (N, 2, h, w) at the second map's size; in evaluation
            without the running mean.

        Raises:
            ValueError: If the number of maps is another.
        """
        check_maps('DisplacementHead', feats, len(self.branches))
        size, deep_size = (tuple(feats[i].shape[-2:]) for i in (1, 2))
        maps = [branch(x) for branch, x in zip(self.branches, feats)]
        deep = torch.cat([
            enlarge(x, factor, deep_size)
            for x, factor in zip(maps[2:], self.factors[2:])
        ], 1)
        deep = enlarge(self.mix_deep(deep), self.deep_factor, size)
        maps = [enlarge(x, 1, size) for x in maps[:2]]
        maps = enlarge(self.mix_all(torch.cat([*maps, deep], 1)), 1, size)
        field = self.predict(maps)
        if not self.training:
            field = field - self.running_mean.view(1, 2, 1, 1)
        return field

    def loss(self, field: Tensor, bg_pos: Tensor, fg_pos: Tensor,
             radius: int) -> dict[str, Tensor]:
        """Half of each displacement loss (IRNet, Sec. 4.5).

        Args:
            field (Tensor): (N, 2, h, w) of :meth:`forward`.
            bg_pos (Tensor): Bool (N, P, n), pairs of background pixels, in
                the order of :func:`~mmwsss.pseudo_labels.path_offsets`.
            fg_pos (Tensor): Bool (N, P, n), pairs of one foreground class.
            radius (int): Pairs are closer than this, in cells.

        Returns:
            dict[str, Tensor]: ``loss_dp_fg`` and ``loss_dp_bg``.

        Raises:
            ValueError: If the map is too small for the radius.
        """
        offsets = path_offsets(radius)
        source, target = pair_values(field.float(), offsets, radius)
        fg, bg = displacement_terms(source - target,
                                    offsets_on(radius, field.device), bg_pos,
                                    fg_pos)
        return dict(loss_dp_fg=fg / 2, loss_dp_bg=bg / 2)
