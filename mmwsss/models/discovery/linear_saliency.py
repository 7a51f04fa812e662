"""Objects by a linear map of the keys of a frozen network."""
import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.pseudo_labels.object_discovery import PatchTokens
from mmwsss.registry import MODELS


@MODELS.register_module()
class LinearSaliency(BaseModule):
    """FOUND's segmenter: a 1 x 1 convolution from the keys to a logit.

    The finder that a :class:`~mmwsss.models.segmentors.DiscoverySegmentor`
    trains.

    Args:
        in_channels (int): Size of a key over all heads, the width of the
            transformer.
        init_cfg (dict, optional): Initialisation. Defaults to None, that of
            torch.
    """

    def __init__(self, in_channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(in_channels, 1, 1)

    def logits(self, tokens: PatchTokens) -> Tensor:
        """How much each patch looks like an object.

        Args:
            tokens (PatchTokens): Of one image.

        Returns:
            Tensor: float32 (gh, gw), positive on objects.

        Raises:
            ValueError: If the keys are of another size.
        """
        keys = tokens.keys.permute(0, 3, 1, 2).flatten(0, 1)
        if len(keys) != self.conv.in_channels:
            raise ValueError(
                f'LinearSaliency has in_channels={self.conv.in_channels}, '
                f'but the keys of this network have {len(keys)} channels over '
                'all heads: set that.')
        return self.conv(keys[None])[0, 0].float()

    @torch.no_grad()
    def forward(self, tokens: PatchTokens) -> np.ndarray:
        """Logits of an image.

        Args:
            tokens (PatchTokens): Of one image.

        Returns:
            ndarray: float32 (1, gh, gw).
        """
        return self.logits(tokens)[None].cpu().numpy()
