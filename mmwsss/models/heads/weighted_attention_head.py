"""Classification that learns which attention heads matter (WeakTr)."""
from typing import Any

from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest, ViewOutput

from ..localizers.weighted_attention_cam import fine_cams, weighted_attention
from ..losses.multilabel_loss import multilabel_loss
from .multi_class_token_head import MultiClassTokenHead


@MODELS.register_module()
class WeightedAttentionHead(MultiClassTokenHead):
    """Scores of class tokens, of patches, and of fine CAMs (WeakTr).

    (Zhu et al., https://arxiv.org/abs/2304.01184.) Beside the two scores of
    :class:`MultiClassTokenHead` a third one is trained: the mean of the fine
    CAM of a class, which is its patch CAM times its token's attention,
    propagated with the patches' attention. Both are means over all heads of
    all blocks, weighted by :class:`AttentionHeadWeights`. Attention, its
    outputs and the patch CAM are constants in this score, so it trains the
    weights of the heads alone. Logits are the mean of the first two scores:
    the third is never negative. The backbone must have one class token per
    class, ``AttentionViT(num_class_tokens=K)``.

    Args:
        num_classes (int): Classes without background, K.
        in_channels (int): Token width D.
        head_weights (dict): ``dict(type='mmwsss.AttentionHeadWeights',
            num_layers=12, num_heads=6)``; ``in_channels`` is taken from here.
        pooling (dict, optional): Pooling of patch CAMs. None is WeakTr's,
            ``dict(type='mmwsss.GlobalAveragePooling')``. Defaults to None.
        **kwargs: See :class:`ClassHead`.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 head_weights: dict,
                 pooling: dict | None = None,
                 **kwargs: Any) -> None:
        super().__init__(
            num_classes,
            in_channels,
            pooling=pooling or dict(type='mmwsss.GlobalAveragePooling'),
            **kwargs)
        self.head_weights = MODELS.build(
            dict(head_weights, in_channels=in_channels))

    def attention_request(self) -> AttentionRequest:
        """Attention per head and what it gives, of all blocks."""
        return AttentionRequest(matrices='heads', outputs=True)

    def attention(self, view: ViewOutput) -> Tensor:
        """The weighted mean of all attention heads, (N, T, T).

        Args:
            view (ViewOutput): With ``attentions`` per head and
                ``attention_outputs``.
        """
        name = 'weighted_attention'
        if name not in view.fields:
            weights = self.head_weights(
                [x.detach() for x in view.attention_outputs])
            view.fields[name] = weighted_attention(
                [a.detach() for a in view.attentions], weights)
        return view.fields[name]

    def loss(self, view: ViewOutput) -> Tensor:
        """Sum of the losses of token, patch and fine scores.

        Args:
            view (ViewOutput): View with ``labels`` (N, K), nan for classes
                that nobody knows about, which are left out.

        Returns:
            Tensor: Scalar, weighted.
        """
        loss = super().loss(view)  # Checks that there is a token per class.
        maps = fine_cams(
            self.attention(view),
            view.cams.detach().flatten(2), view.num_prefix_tokens)
        return loss + self.loss_weight * multilabel_loss(
            maps.mean(dim=2), view.labels)
