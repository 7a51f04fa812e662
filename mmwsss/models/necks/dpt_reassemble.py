"""Feature pyramid out of the equally sized maps of a transformer (DPT)."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS


class ReassembledTap(BaseModule):
    """Readout, projection and resizing of one block's tokens.

    Args:
        in_channels (int): Token width D.
        out_channels (int): Channels of the result.
        level (int): 0 to 3; the map is made 4, 2, 1 or 1/2 times as large.
    """

    def __init__(self, in_channels: int, out_channels: int,
                 level: int) -> None:
        super().__init__()
        self.readout = nn.Linear(2 * in_channels, in_channels)
        self.project = nn.Conv2d(in_channels, out_channels, 1)
        if level < 2:
            factor = (4, 2)[level]
            self.resize = nn.ConvTranspose2d(
                out_channels, out_channels, factor, stride=factor)
        elif level == 2:
            self.resize = nn.Identity()
        else:
            self.resize = nn.Conv2d(
                out_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, feat: Tensor, cls_token: Tensor) -> Tensor:
        """Reassemble one map.

        Args:
            feat (Tensor): Patch tokens as a map (N, D, gh, gw).
            cls_token (Tensor): (N, D).

        Returns:
            Tensor: (N, out_channels, h, w).
        """
        patches = feat.permute(0, 2, 3, 1)
        readout = cls_token[:, None, None].expand_as(patches)
        x = self.readout(torch.cat((patches, readout), dim=-1))
        x = nn.functional.gelu(x).permute(0, 3, 1, 2)
        return self.resize(self.project(x))


@MODELS.register_module()
class DPTReassemble(BaseModule):
    """Reassembles transformer blocks into maps at 1/4, 1/8, 1/16 and 1/32.

    DPT (arXiv 2103.13413, section 3.1) as GETAM uses it (arXiv 2112.02841),
    for patches of 16 pixels: every patch token is concatenated with its
    block's class token and projected back to the token width (readout
    "project"), then a 1 x 1 convolution, then a transposed convolution of
    stride 4 or 2, nothing, or a convolution of stride 2. The class token thus
    influences every map, so gradients of classes that are pooled from the
    last map reach the class token's attention (GETAM).

    A distillation token takes no part. The maps of a hybrid's stem, the first
    of ``feats``, stay as they are.

    Args:
        in_channels (int): Token width D. Defaults to 768.
        out_channels (Sequence[int]): Channels of the four maps. Those of a
            stem must be the stem's. Defaults to (96, 192, 384, 768).
        num_stem_maps (int): How many of the maps come from a stem: 0, or 2
            for ``HybridViT(stem_out_indices=(0, 1))``. Defaults to 0.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Raises:
        ValueError: If there are not four ``out_channels``, or no map is left
            for the transformer.
    """
    reads_cls_tokens = True
    #: Rows and columns of the token grid must be multiples of this.
    grid_divisor = 2

    def __init__(self,
                 in_channels: int = 768,
                 out_channels: Sequence[int] = (96, 192, 384, 768),
                 num_stem_maps: int = 0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if len(out_channels) != 4 or not 0 <= num_stem_maps < 4:
            raise ValueError(
                'DPTReassemble makes four maps, of which at most three come '
                f'from a stem; got out_channels={tuple(out_channels)} and '
                f'num_stem_maps={num_stem_maps}.')
        self.out_channels = tuple(out_channels)
        self.num_stem_maps = num_stem_maps
        self.taps = nn.ModuleList(
            nn.Identity() if level < num_stem_maps else ReassembledTap(
                in_channels, channels, level)
            for level, channels in enumerate(out_channels))

    def forward(self,
                feats: Sequence[Tensor],
                cls_tokens: Sequence[Tensor],
                last_only: bool = False) -> tuple[Tensor, ...]:
        """Make the pyramid.

        Args:
            feats (Sequence[Tensor]): Maps of the stem (N, C, h, w), if any,
                and of the blocks (N, D, gh, gw), four in all.
            cls_tokens (Sequence[Tensor]): Class tokens (N, D) of the blocks.
            last_only (bool): Whether only the last map is made; all that
                classifying and localising need. Defaults to False.

        Returns:
            tuple[Tensor]: Maps (N, out_channels[i], h_i, w_i) of 4, 2, 1 and
            1/2 times the token grid, or only the last of them.

        Raises:
            ValueError: If number or sizes of the maps do not fit.
        """
        self._check(feats, cls_tokens)
        if last_only:
            return (self.taps[-1](feats[-1], cls_tokens[-1]), )
        stem = self.num_stem_maps
        return (*feats[:stem],
                *(tap(feat, token) for tap, feat, token in zip(
                    self.taps[stem:], feats[stem:], cls_tokens)))

    def _check(self, feats: Sequence[Tensor],
               cls_tokens: Sequence[Tensor]) -> None:
        stem = self.num_stem_maps
        if (len(feats), len(cls_tokens)) != (4, 4 - stem):
            raise ValueError(
                f'DPTReassemble(num_stem_maps={stem}) needs {stem} maps of a '
                f'stem and {4 - stem} of blocks, but got {len(feats)} maps '
                f'and {len(cls_tokens)} class tokens. Set '
                f'model.backbone.out_indices to {4 - stem} blocks' + (
                    f' and stem_out_indices to {stem} stages.'
                    if stem else '.'))
        rows, cols = feats[-1].shape[2:]
        sizes = [(4 * rows, 4 * cols), (2 * rows, 2 * cols), (rows, cols)]
        found = [tuple(feat.shape[2:]) for feat in feats[:stem]]
        if rows % 2 or cols % 2 or found != sizes[:stem]:
            raise ValueError(
                f'The input gives {rows} x {cols} tokens'
                f'{f" and stem maps of {found}" if stem else ""}, but DPT '
                'halves the token grid, so height and width of the input must '
                'be multiples of twice the patch size (of 32 pixels for '
                'patches of 16). Train with such a crop; at inference the '
                'model pads, unless test_cfg.size_divisor says otherwise.')
