"""Wide ResNet-38, the backbone of PSA, SEAM and their descendants.

Wu et al., "Wider or Deeper" (https://arxiv.org/abs/1611.10080), model A1, in
the form that SEAM (https://arxiv.org/abs/2004.04581, Sec. 4.1) and PSA
(https://arxiv.org/abs/1803.10464, Sec. 4.2) use: pre-activation blocks,
dilations in place of the last two strides, dropout in the last two blocks.
Parameter names are those of the published checkpoints.
"""
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.registry import MODELS


def _conv(in_channels: int,
          out_channels: int,
          kernel: int,
          stride: int = 1,
          dilation: int = 1) -> nn.Conv2d:
    """Convolution without bias that keeps the size but for its stride."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        bias=False)


class ResNet38Block(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU.

    The shortcut is the block's input; where the shape changes, a 1x1
    convolution of the *activated* input.

    Args:
        in_channels (int): Input channels.
        mid_channels (int): Channels between the convolutions.
        out_channels (int): Output channels.
        stride (int): Stride of the first convolution. Defaults to 1.
        dilations (tuple[int, int]): Of the convolutions. Defaults to (1, 1).
    """

    def __init__(self,
                 in_channels: int,
                 mid_channels: int,
                 out_channels: int,
                 stride: int = 1,
                 dilations: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        self.conv_branch2a = _conv(in_channels, mid_channels, 3, stride,
                                   dilations[0])
        self.bn_branch2b1 = nn.BatchNorm2d(mid_channels)
        self.conv_branch2b1 = _conv(
            mid_channels, out_channels, 3, dilation=dilations[1])
        self.project = stride > 1 or in_channels != out_channels
        if self.project:
            self.conv_branch1 = _conv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the block.

        Args:
            x (Tensor): (N, C, H, W).

        Returns:
            tuple[Tensor, Tensor]: The output (N, C', ceil(H / stride),
            ceil(W / stride)) and the activated input (N, C, H, W).
        """
        active = F.relu_(self.bn_branch2a(x))
        shortcut = self.conv_branch1(active) if self.project else x
        out = F.relu_(self.bn_branch2b1(self.conv_branch2a(active)))
        return self.conv_branch2b1(out) + shortcut, active


class ResNet38Bottleneck(nn.Module):
    """1x1, dilated 3x3 and 1x1 convolutions with dropout of channels.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels; the inner ones have a quarter
            and a half of them.
        dilation (int): Of the 3x3 convolution.
        dropout (float): Probability to drop a channel before each of the
            last two convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int,
                 dropout: float) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        self.conv_branch2a = _conv(in_channels, out_channels // 4, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(out_channels // 4)
        self.conv_branch2b1 = _conv(
            out_channels // 4, out_channels // 2, 3, dilation=dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(out_channels // 2)
        self.conv_branch2b2 = _conv(out_channels // 2, out_channels, 1)
        self.conv_branch1 = _conv(in_channels, out_channels, 1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the block.

        Args:
            x (Tensor): (N, C, H, W).

        Returns:
            tuple[Tensor, Tensor]: The output (N, C', H, W) and the activated
            input (N, C, H, W).
        """
        active = F.relu_(self.bn_branch2a(x))
        out = F.relu_(self.bn_branch2b1(self.conv_branch2a(active)))
        out = self.conv_branch2b1(self.dropout(out))
        out = F.relu_(self.bn_branch2b2(out))
        out = self.conv_branch2b2(self.dropout(out))
        return out + self.conv_branch1(active), active


# Name, channels between and after (in base_channels), stride, dilations
_BLOCKS = (
    ('b2', 2, 2, 2, (1, 1)),
    ('b2_1', 2, 2, 1, (1, 1)),
    ('b2_2', 2, 2, 1, (1, 1)),
    ('b3', 4, 4, 2, (1, 1)),
    ('b3_1', 4, 4, 1, (1, 1)),
    ('b3_2', 4, 4, 1, (1, 1)),
    ('b4', 8, 8, 2, (1, 1)),
    *((f'b4_{i}', 8, 8, 1, (1, 1)) for i in range(1, 6)),
    ('b5', 8, 16, 1, (1, 2)),
    ('b5_1', 8, 16, 1, (2, 2)),
    ('b5_2', 8, 16, 1, (2, 2)),
)
# What a stage gives is the activated input of the block after it.
_TAPS = ('b4', 'b5', 'b6', 'bn7')


@MODELS.register_module()
class ResNet38(BaseModule):
    """Wide ResNet-38 with output stride 8.

    Its outputs are always activated (BatchNorm and ReLU). All BatchNorms keep
    their statistics and affine parameters also while training, so batches may
    be small and images of different sizes share them.

    ======  =============  ========  =======
    Index   Usual name     Channels  Stride
    ======  =============  ========  =======
    0       conv3          256       4
    1       conv4          512       8
    2       conv5          1024      8
    3       conv6          4096      8
    ======  =============  ========  =======

    Args:
        out_indices (Sequence[int]): Which outputs to return, see above.
            Defaults to (1, 2, 3).
        frozen (Sequence[str]): Layers and blocks that are not trained.
            Defaults to ``('conv1a', 'b2', 'b2_1', 'b2_2')``, as in PSA and
            SEAM.
        base_channels (int): Channels of the first layer; all others are in
            proportion. Defaults to 64.
        init_cfg (dict, optional): mmengine's initialisation config; without,
            PyTorch's default for convolutions.

    Raises:
        ValueError: If an index or a frozen layer does not exist.
    """

    def __init__(self,
                 out_indices: Sequence[int] = (1, 2, 3),
                 frozen: Sequence[str] = ('conv1a', 'b2', 'b2_1', 'b2_2'),
                 base_channels: int = 64,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not out_indices or set(out_indices) - set(range(len(_TAPS))):
            raise ValueError('out_indices must be among 0..3, got '
                             f'{tuple(out_indices)}.')
        self.out_indices = tuple(out_indices)
        self.conv1a = _conv(3, base_channels, 3)
        width = base_channels
        self.blocks = [name for name, *_ in _BLOCKS] + ['b6', 'b7']
        for name, mid, out, stride, dilations in _BLOCKS:
            self.add_module(
                name,
                ResNet38Block(width, mid * base_channels, out * base_channels,
                              stride, dilations))
            width = out * base_channels
        self.b6 = ResNet38Bottleneck(width, 2 * width, 4, dropout=0.3)
        self.b7 = ResNet38Bottleneck(2 * width, 4 * width, 4, dropout=0.5)
        self.bn7 = nn.BatchNorm2d(4 * width)
        for name in frozen:
            if name != 'conv1a' and name not in self.blocks:
                raise ValueError(
                    f'ResNet38 has no layer {name!r} to freeze, only conv1a '
                    f'and {", ".join(self.blocks)}.')
            getattr(self, name).requires_grad_(False)
        for norm in self._norms():
            norm.requires_grad_(False)

    def _norms(self) -> list[nn.Module]:
        return [m for m in self.modules() if isinstance(m, _BatchNorm)]

    def train(self, mode: bool = True) -> nn.Module:
        """Train or evaluate; BatchNorms keep their statistics either way."""
        super().train(mode)
        for norm in self._norms():
            norm.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The chosen outputs.

        Args:
            x (Tensor): Normalised RGB images (N, 3, H, W) of any size.

        Returns:
            tuple[Tensor]: (N, C, ceil(H / s), ceil(W / s)) per index, in the
            order of ``out_indices``.
        """
        active = {}
        x = self.conv1a(x)
        for name in self.blocks:
            x, active[name] = getattr(self, name)(x)
        active['bn7'] = F.relu_(self.bn7(x))
        return tuple(active[_TAPS[i]] for i in self.out_indices)
