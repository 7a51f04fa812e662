"""DeepLabV1's head with a large field of view."""
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class LargeFOVHead(BaseDecodeHead):
    """One strongly dilated convolution sees around, then 1 x 1 classify.

    DeepLabV1-LargeFOV (arXiv 1412.7062, section 4.1) with batch norm, as the
    WSSS papers retrain it: 3 x 3 dilated, BN, ReLU, 1 x 1, BN, ReLU, dropout,
    1 x 1. At stride 8, dilation 12 looks 96 pixels to every side.

    Args:
        in_channels (int): Channels of the feature map.
        channels (int): Channels of the two hidden layers. Defaults to 512.
        dilation (int): Of the 3 x 3 convolution. Defaults to 12.
        dropout_ratio (float): Share of single values that are dropped before
            the classifier. Defaults to 0.5.
        **kwargs: For mmseg's ``BaseDecodeHead``; ``num_classes`` counts the
            background.
    """

    def __init__(self,
                 in_channels: int,
                 channels: int = 512,
                 dilation: int = 12,
                 dropout_ratio: float = 0.5,
                 **kwargs: Any) -> None:
        # mmseg would drop whole channels; the papers drop single values.
        super().__init__(in_channels, channels, dropout_ratio=0., **kwargs)
        layer = dict(
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg)
        self.context = ConvModule(
            in_channels,
            channels,
            3,
            padding=dilation,
            dilation=dilation,
            **layer)
        self.project = ConvModule(channels, channels, 1, **layer)
        self.dropout = nn.Dropout(dropout_ratio)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify every position.

        Args:
            inputs (Sequence[Tensor]): Feature maps; the one that ``in_index``
                names is (N, in_channels, h, w).

        Returns:
            Tensor: Logits (N, num_classes, h, w).
        """
        x = self._transform_inputs(inputs)
        return self.cls_seg(self.project(self.context(x)))
