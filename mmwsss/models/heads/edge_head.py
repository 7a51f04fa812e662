"""Class boundaries (IRNet)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.pseudo_labels.pixel_pairs import path_affinity
from mmwsss.registry import MODELS

from ..losses import affinity_loss


def conv_norm(in_channels: int, channels: int, groups: int) -> nn.Sequential:
    """1x1 convolution without bias and group normalisation.

    Args:
        in_channels (int): Channels read.
        channels (int): Channels returned.
        groups (int): Groups of the normalisation.

    Returns:
        nn.Sequential: The two layers.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, bias=False),
        nn.GroupNorm(groups, channels))


def enlarge(x: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Up-sample by a whole factor, rectify, and cut to a size.

    The cut takes away what earlier stages rounded up.

    Args:
        x (Tensor): (N, C, h, w).
        factor (int): Of the bilinear up-sampling; 1 leaves it out.
        size (tuple[int, int]): Height and width of the result.

    Returns:
        Tensor: (N, C, *size), not negative.
    """
    if factor != 1:
        x = F.interpolate(
            x, scale_factor=factor, mode='bilinear', align_corners=False)
    return F.relu(x)[..., :size[0], :size[1]]


def check_maps(name: str, feats: Sequence[Tensor], expected: int) -> None:
    """Raise an error if a head got another number of feature maps.

    Args:
        name (str): Of the head.
        feats (Sequence[Tensor]): The maps.
        expected (int): How many it reads.

    Raises:
        ValueError: If there are more or fewer.
    """
    if len(feats) != expected:
        raise ValueError(
            f'{name} reads {expected} feature maps, the backbone gives '
            f'{len(feats)}. Take mmwsss.ResNetWithStem with all out_indices.')


@MODELS.register_module()
class EdgeHead(BaseModule):
    """IRNet's boundary branch (Sec. 4.1).

    Every feature map is reduced, normalised and up-sampled to the size of the
    second one; a 1x1 convolution of all gives the boundary logit.

    Args:
        in_channels (Sequence[int]): Of the backbone's feature maps.
            Defaults to those of ResNet-50 with its stem.
        strides (Sequence[int]): Pixels of the image per cell of each map;
            the result has the second one's.
            Defaults to (4, 4, 8, 16, 16).
        channels (int): What each map is reduced to. Defaults to 32.
        num_groups (int): Of the normalisation. Defaults to 4.
    """

    def __init__(self,
                 in_channels: Sequence[int] = (64, 256, 512, 1024, 2048),
                 strides: Sequence[int] = (4, 4, 8, 16, 16),
                 channels: int = 32,
                 num_groups: int = 4) -> None:
        super().__init__()
        self.stride, self.deepest_stride = strides[1], max(strides)
        self.factors = [s // self.stride for s in strides]
        self.branches = nn.ModuleList(
            conv_norm(c, channels, num_groups) for c in in_channels)
        self.fuse = nn.Conv2d(channels * len(in_channels), 1, 1)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Boundary logits.

        Args:
            feats (Sequence[Tensor]): Maps (N, C_i, h_i, w_i).

        Returns:
            Tensor: (N, 1, h, w) at the second map's size.

        Raises:
            ValueError: If the number of maps is another.
        """
        check_maps('EdgeHead', feats, len(self.branches))
        size = tuple(feats[1].shape[-2:])
        return self.fuse(
            torch.cat([
                enlarge(branch(x), factor, size)
                for branch, x, factor in zip(self.branches, feats,
                                             self.factors)
            ], 1))

    def loss(self, logit: Tensor, labels: tuple[Tensor, Tensor, Tensor],
             radius: int) -> dict[str, Tensor]:
        """Affinity loss: no boundary within a class, one between classes.

        Args:
            logit (Tensor): (N, 1, h, w) of :meth:`forward`.
            labels (tuple[Tensor, Tensor, Tensor]): Bool (N, P, n) of
                :func:`~mmwsss.pseudo_labels.pair_labels` in the order of
                :func:`~mmwsss.pseudo_labels.path_offsets`.
            radius (int): Pairs are closer than this, in cells.

        Returns:
            dict[str, Tensor]: See
            :func:`~mmwsss.models.losses.affinity_loss`.

        Raises:
            ValueError: If the map is too small for the radius.
        """
        affinity = path_affinity(logit.float().sigmoid(), radius)
        return affinity_loss(affinity, *labels)
