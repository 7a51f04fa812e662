"""ResNet that also shows what its stem sees."""

from mmseg.models.backbones import ResNet
from torch import Tensor

from mmwsss.registry import MODELS


@MODELS.register_module()
class ResNetWithStem(ResNet):
    """mmseg's ResNet whose first feature map is the stem's.

    IRNet reads it next to the stages. Arguments and weights are those of
    mmseg's ``ResNet``, so torchvision's weights load.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps.

        Args:
            x (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: The stem's output after pooling, stride 4, and the
            stages of ``out_indices``.
        """
        if self.deep_stem:
            x = self.stem(x)
        else:
            x = self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        outs = [x]
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
