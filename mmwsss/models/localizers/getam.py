"""CAMs from gradients of the class token's attention (GETAM)."""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest, ViewOutput

from .localizer import Localizer, gather_classes

if TYPE_CHECKING:
    from mmseg.models.segmentors import BaseSegmentor

#: How attention A and its gradient G of one layer become a map; mean over
#: heads after clamping, then the product (ACR's names; ``cam_grad_s`` is
#: GETAM's own coupling).
COUPLINGS = ('grad', 'grad_s', 'cam_grad', 'cam_grad_s')


def couple(attention: Tensor, gradient: Tensor, func: str) -> Tensor:
    """Couple one layer's attention with its gradient (GETAM, section 3.2).

    Args:
        attention (Tensor): (..., heads, Tq, T).
        gradient (Tensor): Gradient of a class score, same shape.
        func (str): One of ``COUPLINGS``.

    Returns:
        Tensor: Head-averaged map (..., Tq, T).

    Raises:
        ValueError: If ``func`` is unknown.
    """
    positive = gradient.relu().mean(dim=-3)
    if func == 'grad':
        return positive
    if func == 'grad_s':
        return positive * positive
    weighted = (gradient * attention).relu().mean(dim=-3)
    if func == 'cam_grad':
        return weighted
    if func == 'cam_grad_s':
        return weighted * positive
    raise ValueError(
        f'Unknown GETAM func {func!r}, choose one of {COUPLINGS}.')


def getam(attentions: Sequence[Tensor], gradients: Sequence[Tensor],
          func: str, num_prefix_tokens: int) -> Tensor:
    """Sum the class token's coupled rows over layers (GETAM, section 3.2).

    Args:
        attentions (Sequence[Tensor]): Per layer (..., heads, Tq, T) whose
            first query is the class token.
        gradients (Sequence[Tensor]): Same shapes.
        func (str): One of ``COUPLINGS``.
        num_prefix_tokens (int): Tokens before the first patch.

    Returns:
        Tensor: (..., P) over the P patches.
    """
    rows = (torch.stack([x[..., :1, :] for x in layers])
            for layers in (attentions, gradients))
    total = couple(*rows, func).sum(dim=0)
    return total[..., 0, num_prefix_tokens:].relu()


def affinity_refine(maps: Tensor, affinity: Tensor) -> Tensor:
    """Propagate maps once with the patch affinity (ACR's inference).

    Args:
        maps (Tensor): (N, K', P).
        affinity (Tensor): (N, P, P), rows are queries, not normalised.

    Returns:
        Tensor: (N, K', P), ``m <- S m`` per class.
    """
    return maps @ affinity.transpose(1, 2)


def class_gradients(logits: Tensor, rows: Sequence[Tensor],
                    class_ids: Tensor) -> list[Tensor]:
    """Gradients of each image's k-th asked class w.r.t. attention rows.

    Images of a batch do not influence each other, so the sum of one logit
    per image is differentiated for all images at once: K' short backward
    passes for the whole batch, none of which leaves the recorded layers.

    Args:
        logits (Tensor): (N, K), in the graph of ``rows``.
        rows (Sequence[Tensor]): Per layer (N, heads, 1, T).
        class_ids (Tensor): (N, K') with -1 as padding.

    Returns:
        list[Tensor]: Per layer (N, K', heads, 1, T).
    """
    scores = gather_classes(logits, class_ids)
    scores = (scores * (class_ids >= 0)).sum(dim=0)
    each = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    grads = [
        torch.autograd.grad(scores, rows, one, k + 1 < len(scores))
        for k, one in enumerate(each)
    ]
    return [torch.stack(layer, dim=1) for layer in zip(*grads)]


@MODELS.register_module()
class GETAM(Localizer):
    """Gradient-weighted element-wise transformer attention map.

    (Sun et al., "GETAM", arXiv 2112.02841; with the affinity step of ACR,
    arXiv 2308.04321.) The raw class logit is differentiated w.r.t. the class
    token's attention row of the last layers; row and gradient are coupled,
    averaged over heads, summed over layers, and optionally propagated once
    with the patch-to-patch attention summed over *all* layers.

    Only what is read is computed: blocks below ``start_layer`` run without a
    graph, the gradient of a row never needs another query's row, and the
    last block skips its patch tokens when the head reads the class token.

    Args:
        func (str): ``'grad'``, ``'grad_s'``, ``'cam_grad'`` or
            ``'cam_grad_s'``. Defaults to 'grad', what ACR's script uses.
        start_layer (int): First block (0-based) that takes part. Negative
            values count from the end. Defaults to 10.
        affinity (bool): Whether to propagate the map once with the network's
            patch-to-patch attention. Defaults to True.
        align_corners (bool): Corner alignment when maps are brought to image
            size. Defaults to True.

    Raises:
        ValueError: If ``func`` is unknown.
    """

    def __init__(self,
                 func: str = 'grad',
                 start_layer: int = 10,
                 affinity: bool = True,
                 align_corners: bool = True) -> None:
        if func not in COUPLINGS:
            raise ValueError(
                f'Unknown GETAM func {func!r}, choose one of {COUPLINGS}.')
        self.func = func
        self.start_layer = start_layer
        self.affinity = affinity
        self.align_corners = align_corners

    def attention_request(self, model: 'BaseSegmentor') -> AttentionRequest:
        """Class rows from ``start_layer`` on, and the affinity if used.

        Raises:
            ValueError: If there is one class token per class.
        """
        if getattr(model.backbone, 'token_per_class', False):
            raise ValueError(
                'GETAM reads the attention of a single class token, but the '
                'backbone has one per class. Take '
                "localizer=dict(type='mmwsss.ClassAttentionCAM'), or leave "
                'out model.backbone.num_class_tokens.')
        return AttentionRequest(
            class_rows_from=self.start_layer,
            affinity=self.affinity,
            patch_tokens=not model.cls_head.reads_class_token_only)

    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """Maps (N, K', gh, gw) of all asked classes of all images."""
        with torch.enable_grad():
            logits = view.logits
            gradients = class_gradients(logits, view.class_rows, class_ids)
        attentions = [row.detach()[:, None] for row in view.class_rows]
        maps = getam(attentions, gradients, self.func,
                     view.num_prefix_tokens)
        if self.affinity:
            maps = affinity_refine(maps, view.affinity.to(maps))
        return maps.unflatten(-1, view.grid)
