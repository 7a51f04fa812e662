"""Decoder of DPT with GETAM's recalibration block."""
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.dpt_head import FeatureFusionBlock
from torch import Tensor, nn

from mmwsss.registry import MODELS


class ChannelRecalibration(BaseModule):
    """Residual block whose branch is scaled per channel.

    y + b * g with b = conv(relu(conv(y))) and
    g = sigmoid(W2 relu(W1 mean(b))), squeeze and excitation without biases.
    It is what GETAM's code calls ``cam_module``; class activation maps have
    no part in it.

    Args:
        channels (int): Channels C.
        reduction (int): C over the width of the hidden layer of g.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1))
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False), nn.ReLU(),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C, h, w)."""
        branch = self.body(x)
        gate = self.gate(branch.mean(dim=(2, 3)))
        return x + branch * gate[:, :, None, None]


@MODELS.register_module()
class DPTDecoderHead(BaseDecodeHead):
    """Fuses a pyramid from coarse to fine, as DPT does, and classifies it.

    DPT (arXiv 2103.13413, section 3.2) in GETAM's version (arXiv 2112.02841):
    3 x 3 convolutions to one width; four fusion blocks, each adding a map,
    doubling the size and mixing channels; :class:`ChannelRecalibration`;
    3 x 3 convolution, norm, ReLU, dropout, 1 x 1 convolution; twice enlarged.
    From maps at 1/4, 1/8, 1/16 and 1/32 (``mmwsss.DPTReassemble``) come
    logits at full size. mmseg's ``DPTHead`` holds its own reassembly, which
    could not feed a class head, and stops at half size.

    Args:
        in_channels (Sequence[int]): Channels of the four maps.
            Defaults to (96, 192, 384, 768).
        channels (int): Width. Defaults to 256.
        in_index (Sequence[int]): Which maps to read, finest first.
            Defaults to (0, 1, 2, 3).
        reduction (int): See :class:`ChannelRecalibration`. Defaults to 16.
        dropout_ratio (float): Share of single values that are dropped before
            the classifier. Defaults to 0.1.
        norm_cfg (dict): Normalisation. Batch norm is the published one; take
            ``dict(type='GN', num_groups=32)`` for small batches.
            Defaults to ``dict(type='BN')``.
        init_cfg (dict, optional): Initialisation. None keeps PyTorch's, as
            published. Defaults to None.
        **kwargs: For mmseg's ``BaseDecodeHead``; ``num_classes`` counts the
            background.
    """

    def __init__(self,
                 in_channels: Sequence[int] = (96, 192, 384, 768),
                 channels: int = 256,
                 in_index: Sequence[int] = (0, 1, 2, 3),
                 reduction: int = 16,
                 dropout_ratio: float = 0.1,
                 norm_cfg: dict = dict(type='BN'),
                 init_cfg: dict | None = None,
                 **kwargs: Any) -> None:
        kwargs.setdefault('align_corners', True)
        # mmseg would drop whole channels; DPT drops single values.
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform='multiple_select',
            dropout_ratio=0.,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
            **kwargs)
        self.convs = nn.ModuleList(
            nn.Conv2d(c, channels, 3, padding=1, bias=False)
            for c in in_channels)
        self.fusions = nn.ModuleList(
            FeatureFusionBlock(channels, self.act_cfg, norm_cfg)
            for _ in in_channels)
        # Nothing is added to the coarsest map.
        self.fusions[-1].res_conv_unit1 = None
        self.recalibration = ChannelRecalibration(channels, reduction)
        self.project = ConvModule(
            channels,
            channels,
            3,
            padding=1,
            norm_cfg=norm_cfg,
            act_cfg=self.act_cfg)
        self.dropout = nn.Dropout(dropout_ratio)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Decode.

        Args:
            inputs (Sequence[Tensor]): Feature maps; those that ``in_index``
                names are (N, in_channels[i], h_i, w_i), each half the size of
                the one before.

        Returns:
            Tensor: Logits (N, num_classes, 4 h_0, 4 w_0).
        """
        maps = [
            conv(x)
            for conv, x in zip(self.convs, self._transform_inputs(inputs))
        ]
        x = self.fusions[-1](maps[-1])
        for fusion, finer in zip(self.fusions[-2::-1], maps[-2::-1]):
            x = fusion(x, finer)
        x = self.cls_seg(self.project(self.recalibration(x)))
        return nn.functional.interpolate(
            x, scale_factor=2, mode='bilinear', align_corners=True)
