"""Classification from one token per class and from patches (MCTformer+)."""
from typing import Any

from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

from ..losses.multilabel_loss import multilabel_loss
from .class_head import ClassHead


def token_logits(tokens: Tensor) -> Tensor:
    """Class scores of one token per class (MCTformer).

    A token has no classifier of its own: its score is the mean of its
    channels, so what tells classes apart is learnt by the tokens themselves.

    Args:
        tokens (Tensor): (N, K, D).

    Returns:
        Tensor: Logits (N, K).
    """
    return tokens.mean(dim=-1)


@MODELS.register_module()
class MultiClassTokenHead(ClassHead):
    """Scores of class tokens and of pooled patch CAMs (MCTformer+).

    (Xu et al., https://arxiv.org/abs/2308.03005.) The last block's token of a
    class, averaged over channels, is one score of the class; a 3 x 3
    convolution on the patch tokens makes CAMs, whose values pooled by rank
    are the other. Each has its multi-label soft margin loss; the logits are
    the mean of both. The backbone must have one class token per class,
    ``AttentionViT(num_class_tokens=K)``.

    Args:
        num_classes (int): Classes without background, K.
        in_channels (int): Token width D.
        pooling (dict, optional): Pooling of CAMs. None is MCTformer+'s,
            ``dict(type='mmwsss.GlobalWeightedRankPooling', decay=0.996,
            num_positions=784)``. Defaults to None.
        **kwargs: See :class:`ClassHead`.

    Raises:
        ValueError: If the pooling takes features instead of CAMs.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 pooling: dict | None = None,
                 **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        # PyTorch's initialisation, as in the published code.
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)
        self.pooling = MODELS.build(
            pooling or dict(
                type='mmwsss.GlobalWeightedRankPooling',
                decay=0.996,
                num_positions=784))
        if getattr(self.pooling, 'pools_features', False):
            raise ValueError(
                'MultiClassTokenHead pools CAMs, but '
                f'{type(self.pooling).__name__} pools features. Take '
                "pooling=dict(type='mmwsss.GlobalWeightedRankPooling') or "
                "dict(type='mmwsss.GlobalAveragePooling').")

    def both_logits(self, view: ViewOutput) -> tuple[Tensor, Tensor]:
        """Scores of class tokens and of patches.

        Args:
            view (ViewOutput): With ``class_tokens`` and ``feats``.

        Returns:
            tuple[Tensor, Tensor]: Each (N, K).

        Raises:
            ValueError: If there is not one token per class.
        """
        name = 'token_and_patch_logits'
        if name in view.fields:  # The loss and the logits read both.
            return view.fields[name]
        tokens = view.class_tokens[-1]
        if tokens.shape[1] != self.num_classes:
            raise ValueError(
                f'MultiClassTokenHead has {self.num_classes} classes, the '
                f'backbone {tokens.shape[1]} class tokens. Set '
                'model.backbone.num_class_tokens to '
                'model.cls_head.num_classes.')
        view.fields[name] = token_logits(tokens), self.pooling(view.cams)
        return view.fields[name]

    def forward(self, view: ViewOutput) -> Tensor:
        """Mean of the scores of tokens and patches, (N, K)."""
        return sum(self.both_logits(view)) / 2

    def cams(self, view: ViewOutput) -> Tensor:
        """The patch CAMs (N, K, gh, gw), bias included."""
        return self.conv(view.feats[-1])

    def loss(self, view: ViewOutput) -> Tensor:
        """Sum of the losses of token and patch scores.

        Args:
            view (ViewOutput): View with ``labels`` (N, K), nan for classes
                that nobody knows about, which are left out.

        Returns:
            Tensor: Scalar, weighted.
        """
        return self.loss_weight * sum(
            multilabel_loss(logits, view.labels)
            for logits in self.both_logits(view))
