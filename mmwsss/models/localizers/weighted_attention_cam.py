"""CAMs from attention heads that a network has weighted (WeakTr)."""
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


def weighted_attention(attentions: Sequence[Tensor],
                       weights: Tensor) -> Tensor:
    """Mean of all attention heads, each times its weight (WeakTr).

    Args:
        attentions (Sequence[Tensor]): Per block, softmax attention
            (N, heads, T, T).
        weights (Tensor): (N, G), block after block; G heads in all.

    Returns:
        Tensor: sum_g w_g A_g / G, (N, T, T), in the precision of the
        attention.
    """
    heads = attentions[0].shape[1]
    total = torch.zeros_like(attentions[0][:, 0])
    # In half precision small attention would be rounded.
    with torch.autocast(total.device.type, enabled=False):
        for block, weight in zip(attentions,
                                 weights.to(total).split(heads, dim=1)):
            total = total + (weight[:, None] @ block.flatten(2)).view_as(
                total)
    return total / weights.shape[1]


def attended_cams(attention: Tensor, cams: Tensor,
                  num_prefix_tokens: int) -> Tensor:
    """Patch CAMs where the token of their class looks (WeakTr).

    Args:
        attention (Tensor): (N, T, T), the tokens of K classes first.
        cams (Tensor): Raw patch CAMs (N, K, P).
        num_prefix_tokens (int): Tokens before the first patch.

    Returns:
        Tensor: relu(cams) times the attention of class k to each patch,
        (N, K, P).
    """
    cross = attention[:, :cams.shape[1], num_prefix_tokens:]
    return cams.relu() * cross


def fine_cams(attention: Tensor, cams: Tensor,
              num_prefix_tokens: int) -> Tensor:
    """Attended CAMs, propagated once with the patches' attention (WeakTr).

    Args:
        attention (Tensor): (N, T, T), the tokens of K classes first.
        cams (Tensor): Raw patch CAMs (N, K, P).
        num_prefix_tokens (int): Tokens before the first patch.

    Returns:
        Tensor: (N, K, P), not negative.
    """
    maps = attended_cams(attention, cams, num_prefix_tokens)
    patches = attention[:, num_prefix_tokens:, num_prefix_tokens:]
    with torch.autocast(maps.device.type, enabled=False):
        return affinity_refine(maps, patches)


@MODELS.register_module()
class WeightedAttentionCAM(Localizer):
    """The fine CAMs of a :class:`~mmwsss.models.heads.WeightedAttentionHead`.

    (WeakTr, Zhu et al., https://arxiv.org/abs/2304.01184.) A class's
    rectified patch CAM is multiplied with the attention of its token to the
    patches and propagated once with the patches' attention; both are means
    over all heads of all blocks with the head's weights. No gradients are
    needed. Attention of all heads is kept until all weights are known:
    4 * G * T^2 bytes per view of an image with T tokens, for G = 72 heads and
    1,000 tokens 290 MB.

    Args:
        affinity (bool): Whether to propagate the maps with the patches'
            attention. Defaults to True.
        align_corners (bool): Corner alignment when maps are brought to image
            size. Defaults to False.
    """

    def __init__(self,
                 affinity: bool = True,
                 align_corners: bool = False) -> None:
        self.affinity = affinity
        self.align_corners = align_corners

    def attention_request(self, model: 'BaseSegmentor') -> AttentionRequest:
        """What the model's head reads.

        Raises:
            ValueError: If it weighs no attention heads, or there is not one
                token per class.
        """
        if not hasattr(model.cls_head, 'head_weights'):
            raise ValueError(
                'WeightedAttentionCAM reads the weights of attention heads, '
                f'which {type(model.cls_head).__name__} does not have. Take '
                "cls_head=dict(type='mmwsss.WeightedAttentionHead', "
                "head_weights=dict(type='mmwsss.AttentionHeadWeights', ...), "
                "...), or localizer=dict(type='mmwsss.ClassAttentionCAM').")
        check_class_tokens(self, model)
        return model.cls_head.attention_request()

    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """Maps (N, K', gh, gw) of all asked classes of all images."""
        cams = view.cams.flatten(2)
        attention = model.cls_head.attention(view)
        make = fine_cams if self.affinity else attended_cams
        maps = make(attention, cams.to(attention), view.num_prefix_tokens)
        return gather_classes(maps, class_ids).unflatten(-1, view.grid)
