"""ResNet with standardised weights: the stem of the hybrid ViT.

It is the "R50" of the ViT paper (https://arxiv.org/abs/2010.11929, Sec. 3.1,
"Hybrid Architecture"), as BiT (https://arxiv.org/abs/1912.11370) defines it:
weight standardisation (https://arxiv.org/abs/1903.10520), GroupNorm and
TensorFlow's SAME padding, but with activations *after* the convolutions.
Parameter names are timm's, so that its checkpoints need no renaming.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS


def standardize_weight(weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Give every filter mean 0 and standard deviation (almost) 1.

    ``(w - mean) / (std + eps)``, mean and biased standard deviation over one
    filter. A constant filter becomes zero and gets a zero gradient from the
    standard deviation, not NaN.

    Args:
        weight (Tensor): (out, in, kh, kw).
        eps (float): Added to the standard deviation. Defaults to 1e-5.

    Returns:
        Tensor: (out, in, kh, kw).
    """
    # Kept in exactly this order of operations: GroupNorm with one channel per
    # group over few positions magnifies rounding differences.
    std, mean = torch.std_mean(
        weight, dim=(1, 2, 3), unbiased=False, keepdim=True)
    return (weight - mean) / (std + eps)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis.

    The output has ``ceil(size / stride)`` positions. An odd total puts the
    additional pixel at the end.

    Args:
        size (int): Input length in pixels.
        kernel (int): Kernel length.
        stride (int): Stride.

    Returns:
        tuple[int, int]: Pixels before and after.
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class StdConv2dSame(nn.Conv2d):
    """Convolution without bias: standardised weights and SAME padding.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Side of the square kernel.
        stride (int): Stride. Defaults to 1.
        eps (float): See :func:`standardize_weight`. Defaults to 1e-5.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int,
                 stride: int = 1,
                 eps: float = 1e-5) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, bias=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, C', ceil(H / s), ceil(W / s))."""
        top, bottom = same_padding(x.shape[2], self.kernel_size[0],
                                   self.stride[0])
        left, right = same_padding(x.shape[3], self.kernel_size[1],
                                   self.stride[1])
        # The convolution pads both ends alike; only what is left over (one
        # pixel, at even sizes and stride 2) needs a padded copy.
        if bottom > top or right > left:
            x = F.pad(x, (left, right, top, bottom))
            top = left = 0
        weight = standardize_weight(self.weight, self.eps)
        return F.conv2d(x, weight, None, self.stride, (top, left))


def max_pool_same(x: Tensor, kernel: int = 3, stride: int = 2) -> Tensor:
    """Max-pooling with SAME padding; padded pixels never win.

    The pixel that SAME adds only at the end is what ``ceil_mode`` allows a
    window to overhang, so nothing is copied.

    Args:
        x (Tensor): (N, C, H, W).
        kernel (int): Side of the window. Defaults to 3.
        stride (int): Stride. Defaults to 2.

    Returns:
        Tensor: (N, C, ceil(H / stride), ceil(W / stride)).
    """
    padding = [same_padding(size, kernel, stride)[0] for size in x.shape[2:]]
    return F.max_pool2d(x, kernel, stride, padding, ceil_mode=True)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or one per channel below 32 channels.

    Args:
        channels (int): Number of channels.

    Returns:
        nn.GroupNorm: With eps 1e-5.

    Raises:
        ValueError: If 32 groups do not divide the channels.
    """
    groups = min(32, channels)
    if channels % groups:
        raise ValueError(
            f'GroupNorm with 32 groups cannot split {channels} channels. '
            'Choose stem_channels, channels and channels / 4 below 32 or as '
            'multiples of 32.')
    return nn.GroupNorm(groups, channels, eps=1e-5)


class _ConvNorm(nn.Module):
    """Convolution and GroupNorm, named as timm names them.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Side of the kernel.
        stride (int): Stride.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int,
                 stride: int) -> None:
        super().__init__()
        self.conv = StdConv2dSame(in_channels, out_channels, kernel_size,
                                  stride)
        self.norm = group_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise (N, C, H, W)."""
        return self.norm(self.conv(x))


class StdBottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions and a shortcut.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels, four times the inner width.
        stride (int): Stride of the 3x3 convolution and of the shortcut.
        project (bool): Whether the shortcut is a 1x1 convolution with
            GroupNorm; without, input and output must have one shape.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int,
                 project: bool) -> None:
        super().__init__()
        mid = out_channels // 4
        self.downsample = _ConvNorm(in_channels, out_channels, 1,
                                    stride) if project else nn.Identity()
        self.conv1 = StdConv2dSame(in_channels, mid, 1)
        self.norm1 = group_norm(mid)
        self.conv2 = StdConv2dSame(mid, mid, 3, stride)
        self.norm2 = group_norm(mid)
        self.conv3 = StdConv2dSame(mid, out_channels, 1)
        self.norm3 = group_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / s), ceil(W / s))."""
        out = self.norm1(self.conv1(x)).relu_()
        out = self.norm2(self.conv2(out)).relu_()
        out = self.norm3(self.conv3(out))
        return out.add_(self.downsample(x)).relu_()


class _Stage(nn.Module):
    """A run of bottlenecks; the first one strides and projects.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        depth (int): Number of blocks.
        stride (int): Stride of the first block.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int,
                 stride: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            StdBottleneck(in_channels, out_channels, stride, project=True),
            *(StdBottleneck(out_channels, out_channels, 1, project=False)
              for _ in range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Apply all blocks."""
        return self.blocks(x)


@MODELS.register_module()
class WeightStdResNet(BaseModule):
    """Weight-standardised ResNet with GroupNorm and SAME padding.

    The defaults are the stem of timm's ``vit_base_r50_s16``: three stages,
    output stride 16. GroupNorm has 32 groups; layers with fewer than 32
    channels have one group per channel.

    Args:
        layers (Sequence[int]): Blocks per stage. Defaults to (3, 4, 9).
        channels (Sequence[int]): Output channels per stage.
            Defaults to (256, 512, 1024).
        strides (Sequence[int], optional): Stride per stage. Defaults to 1
            for the first stage and 2 for the others.
        stem_channels (int): Channels of the 7x7 convolution. Defaults to 64.
        stem_stride (int): Its stride. Defaults to 2.
        stem_pool (bool): Whether a 3x3 max-pooling of stride 2 follows it.
            Defaults to True.
        in_channels (int): Channels of the image. Defaults to 3.
        init_cfg (dict, optional): mmengine's initialisation config.

    Raises:
        ValueError: If the lists differ in length, a stage is empty, or a
            number of channels is not divisible as needed.
    """

    def __init__(self,
                 layers: Sequence[int] = (3, 4, 9),
                 channels: Sequence[int] = (256, 512, 1024),
                 strides: Sequence[int] | None = None,
                 stem_channels: int = 64,
                 stem_stride: int = 2,
                 stem_pool: bool = True,
                 in_channels: int = 3,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if strides is None:
            strides = (1, ) + (2, ) * (len(layers) - 1)
        if not 0 < len(layers) == len(channels) == len(strides):
            raise ValueError(
                'layers, channels and strides need one entry per stage, got '
                f'layers={tuple(layers)}, channels={tuple(channels)}, '
                f'strides={tuple(strides)}.')
        if min(layers) < 1:
            raise ValueError('Every stage needs at least one block, got '
                             f'layers={tuple(layers)}.')
        if any(c % 4 for c in channels):
            raise ValueError('channels of bottleneck stages must be '
                             f'multiples of 4, got {tuple(channels)}.')
        self.channels = tuple(channels)
        self.stem = _ConvNorm(in_channels, stem_channels, 7, stem_stride)
        self.stem_pool = stem_pool
        self.out_stride = stem_stride * (2 if stem_pool else 1)
        self.stages = nn.ModuleList()
        width = stem_channels
        for depth, channel, stride in zip(
                layers, channels, strides, strict=True):
            self.stages.append(_Stage(width, channel, depth, stride))
            self.out_stride *= stride
            width = channel

    def forward_stem(self, x: Tensor) -> Tensor:
        """7x7 convolution, norm, ReLU and pooling of (N, C, H, W)."""
        x = self.stem(x).relu_()
        return max_pool_same(x) if self.stem_pool else x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs of all stages.

        Args:
            x (Tensor): Image (N, in_channels, H, W) of any size.

        Returns:
            tuple[Tensor]: (N, channels[i], ceil(H / s_i), ceil(W / s_i)) per
            stage, s_i being the stride reached by stage i.
        """
        x = self.forward_stem(x)
        outs: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        return tuple(outs)
