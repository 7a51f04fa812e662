"""DeepLabV2's head: classifiers of several dilations, added up."""
from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Atrous spatial pyramid pooling as in DeepLabV2 (arXiv 1606.00915).

    Each branch is one dilated 3 x 3 convolution with bias straight from the
    features to the classes; the logits are their sum. No hidden layer, no
    normalisation, no dropout (mmseg's ``ASPPHead`` is DeepLabV3's).

    Args:
        in_channels (int): Channels of the feature map.
        num_classes (int): Classes with background.
        dilations (Sequence[int]): One per branch.
            Defaults to (6, 12, 18, 24), "ASPP-L" of the paper.
        init_cfg (dict): Defaults to weights of N(0, 0.01) and no bias.
        **kwargs: For mmseg's ``BaseDecodeHead``.
    """

    def __init__(self,
                 in_channels: int,
                 num_classes: int,
                 dilations: Sequence[int] = (6, 12, 18, 24),
                 init_cfg: dict = dict(
                     type='Normal', layer='Conv2d', std=0.01),
                 **kwargs: Any) -> None:
        super().__init__(
            in_channels,
            channels=num_classes,
            num_classes=num_classes,
            dropout_ratio=0.,
            init_cfg=init_cfg,
            **kwargs)
        # The branches classify; a layer without gradient would stop DDP.
        del self.conv_seg
        self.branches = nn.ModuleList(
            nn.Conv2d(
                in_channels,
                self.out_channels,
                3,
                padding=dilation,
                dilation=dilation) for dilation in dilations)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify every position.

        Args:
            inputs (Sequence[Tensor]): Feature maps; the one that ``in_index``
                names is (N, in_channels, h, w).

        Returns:
            Tensor: Logits (N, num_classes, h, w).
        """
        x = self._transform_inputs(inputs)
        return sum(branch(x) for branch in self.branches)
