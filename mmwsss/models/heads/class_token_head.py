"""Classification from a transformer's class token."""
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

from .class_head import ClassHead


@MODELS.register_module()
class ClassTokenHead(ClassHead):
    """One linear layer on the class token (ACR's head).

    The same layer applied to the patch tokens gives the "patch CAM".

    Args:
        num_classes (int): Classes without background, K.
        in_channels (int): Token width D.
        **kwargs: See :class:`ClassHead`.
    """
    reads_class_token_only = True

    def __init__(self, num_classes: int, in_channels: int,
                 **kwargs: Any) -> None:
        kwargs.setdefault(
            'init_cfg', dict(type='TruncNormal', layer='Linear', std=0.02))
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, view: ViewOutput) -> Tensor:
        """Logits (N, K) of the class token (N, D)."""
        return self.fc(view.cls_token)

    def cams(self, view: ViewOutput) -> Tensor:
        """The layer applied to every patch token: (N, K, gh, gw)."""
        weight = self.fc.weight[:, :, None, None]
        return F.conv2d(view.feats[-1], weight, self.fc.bias)
