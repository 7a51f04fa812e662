"""CAMs from one class token per class and the patches (MCTformer+)."""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest, ViewOutput

from .getam import affinity_refine
from .localizer import Localizer, check_class_tokens, gather_classes

if TYPE_CHECKING:
    from mmseg.models.segmentors import BaseSegmentor


def class_attention(class_rows: Sequence[Tensor],
                    num_prefix_tokens: int) -> Tensor:
    """What the token of each class looks at (MCTformer).

    Args:
        class_rows (Sequence[Tensor]): Per block, rows of all class tokens
            (N, heads, K, T).
        num_prefix_tokens (int): Tokens before the first patch.

    Returns:
        Tensor: Mean over blocks and heads, (N, K, P) over the P patches.
    """
    rows = torch.stack([r.mean(dim=1) for r in class_rows]).mean(dim=0)
    return rows[..., num_prefix_tokens:]


def fuse(attention: Tensor, cams: Tensor) -> Tensor:
    """Join class attention with patch CAMs: their geometric mean.

    Args:
        attention (Tensor): Not negative, (N, K, P).
        cams (Tensor): Raw patch CAMs (N, K, P).

    Returns:
        Tensor: sqrt(attention * relu(cams)), (N, K, P).
    """
    return (attention * cams.relu()).sqrt()


@MODELS.register_module()
class ClassAttentionCAM(Localizer):
    """Attention of class tokens times patch CAMs (MCTformer+).

    (Xu et al., https://arxiv.org/abs/2308.03005.) A class's attention to the
    patches, averaged over blocks and heads, is multiplied with its rectified
    patch CAM; the square root of the product is propagated once with the
    patch-to-patch attention, averaged over heads and summed over *all*
    blocks. No gradients are needed. The backbone must have one class token
    per class, ``AttentionViT(num_class_tokens=K)``.

    Args:
        start_layer (int): First block (0-based) whose class attention is
            read. Negative values count from the end. Defaults to 0.
        affinity (bool): Whether to propagate the maps with the network's
            patch-to-patch attention. Defaults to True.
        align_corners (bool): Corner alignment when maps are brought to image
            size. Defaults to False.
    """

    def __init__(self,
                 start_layer: int = 0,
                 affinity: bool = True,
                 align_corners: bool = False) -> None:
        self.start_layer = start_layer
        self.affinity = affinity
        self.align_corners = align_corners

    def attention_request(self, model: 'BaseSegmentor') -> AttentionRequest:
        """Class rows from ``start_layer`` on, and the affinity if used.

        Raises:
            ValueError: If there is not one token per class.
        """
        check_class_tokens(self, model)
        return AttentionRequest(
            class_rows_from=self.start_layer,
            row_gradients=False,
            affinity=self.affinity)

    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """Maps (N, K', gh, gw) of all asked classes of all images."""
        attention = class_attention(view.class_rows, view.num_prefix_tokens)
        cams = view.cams
        maps = fuse(
            gather_classes(attention, class_ids),
            gather_classes(cams, class_ids).flatten(2).to(attention))
        if self.affinity:
            maps = affinity_refine(maps, view.affinity.to(maps))
        return maps.unflatten(-1, view.grid)
