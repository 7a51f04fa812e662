"""From class maps to class scores."""
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class GlobalAveragePooling(nn.Module):
    """Mean over all positions (Zhou et al., CAM, CVPR 2016)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Pool class maps.

        Args:
            maps (Tensor): (N, K, h, w).

        Returns:
            Tensor: (N, K).
        """
        return maps.mean(dim=(2, 3))
