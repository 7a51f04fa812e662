"""MobileNetV2 with maps at stride 16."""
from typing import Any

from mmpretrain.models.backbones import MobileNetV2
from torch import nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class DilatedMobileNetV2(MobileNetV2):
    """mmpretrain's MobileNetV2 whose last stages keep stride 16.

    The last convolution of stride 2 gets stride 1, and those after it a
    dilation of 2, so every weight sees what it was trained to see (DeepLab,
    arXiv 1606.00915, section 3.1). mmseg's MobileNetV2 can do this as well,
    but lacks the last convolution with 1280 channels, whose features
    classify best. Checkpoints of mmpretrain load unchanged.

    Args:
        **kwargs: For mmpretrain's ``MobileNetV2``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        convs = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        last = max(i for i, c in enumerate(convs) if c.stride == (2, 2))
        convs[last].stride = (1, 1)
        for conv in convs[last + 1:]:
            if conv.kernel_size != (1, 1):
                conv.dilation = (2, 2)
                conv.padding = (2, 2)
