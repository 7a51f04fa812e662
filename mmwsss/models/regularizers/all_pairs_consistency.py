"""ACR: the attention of an image and of its mirror image must agree."""
from collections.abc import Sequence

from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest, ViewPair

from .regularizer import Regularizer


def consistency_losses(attentions: Sequence[Tensor],
                       others: Sequence[Tensor],
                       num_prefix_tokens: int,
                       num_class_tokens: int = 1) -> tuple[Tensor, Tensor]:
    """Activation and affinity consistency of aligned attention (ACR).

    Both are means of absolute differences over images, layers and entries:
    of the class token's row (rows, if there is a token per class), and of the
    patch-to-patch block. Attention of patches to prefix tokens is not
    constrained, and a distillation token takes no part.

    Args:
        attentions (Sequence[Tensor]): Per layer (N, T, T), first view.
        others (Sequence[Tensor]): Same of the second view, in the first
            view's token order.
        num_prefix_tokens (int): Tokens before the first patch.
        num_class_tokens (int): The first of these. Defaults to 1.

    Returns:
        tuple[Tensor, Tensor]: The two scalars.
    """
    p, c = num_prefix_tokens, num_class_tokens
    activation, affinity = 0., 0.
    for a, b in zip(attentions, others):
        activation = activation + (a[:, :c, p:] - b[:, :c, p:]).abs().mean()
        affinity = affinity + (a[:, p:, p:] - b[:, p:, p:]).abs().mean()
    return activation / len(attentions), affinity / len(attentions)


@MODELS.register_module()
class AllPairsConsistency(Regularizer):
    """All-pairs consistency regularization (ACR, arXiv 2308.04321).

    Needs a second view that keeps the token grid (``HorizontalFlip``) and a
    backbone that shows attention (``AttentionViT``, ``HybridViT``).

    Both terms are means over attention entries, and an attention row sums to
    one, so they shrink like 1 / tokens: a weight tuned at one input size is
    too strong at a smaller one. ``num_tokens`` says how many patch tokens
    ``loss_weight`` belongs to and rescales it to the input at hand; the
    paper's 125 belongs to 576 tokens (384 x 384 pixels, patch 16).

    Args:
        loss_weight (float): Weight alpha of both terms. Defaults to 125.
        num_tokens (int, optional): Patch tokens the weight is stated for;
            the weight used is ``loss_weight * tokens / num_tokens``. None
            uses ``loss_weight`` as it is. Defaults to None.
    """
    needs_second_view = True

    def __init__(self,
                 loss_weight: float = 125.,
                 num_tokens: int | None = None) -> None:
        super().__init__()
        if num_tokens is not None and num_tokens < 1:
            raise ValueError('AllPairsConsistency needs num_tokens >= 1 or '
                             f'None, got {num_tokens}.')
        self.loss_weight = loss_weight
        self.num_tokens = num_tokens

    def attention_request(self) -> AttentionRequest:
        """Head-averaged attention of all layers."""
        return AttentionRequest(matrices='mean', patch_tokens=False)

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """``loss_activation`` and ``loss_affinity`` of two views.

        Args:
            pair (ViewPair): Two views whose tokens are in one order, with
                ``attentions``.

        Raises:
            ValueError: If the second view's tokens are others than the first
                one's, or in another order.
        """
        view, other = pair.first, pair.second
        if not other.aligned:
            raise ValueError(
                'AllPairsConsistency compares attention token by token, but '
                f'the second view ({other.grid} tokens, the first has '
                f'{view.grid}) was not brought into the order of the first. '
                "Use one that keeps the token grid: second_view=dict(type="
                "'mmwsss.HorizontalFlip'). One that resizes the image, such "
                'as Rescale, has other tokens at any scale.')
        activation, affinity = consistency_losses(
            view.attentions, other.attentions, view.num_prefix_tokens,
            view.num_class_tokens)
        weight = self.loss_weight
        if self.num_tokens is not None:
            weight *= view.grid[0] * view.grid[1] / self.num_tokens
        return dict(
            loss_activation=weight * activation,
            loss_affinity=weight * affinity)
