"""MCTformer+: class tokens of one image must differ from each other."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair

from .regularizer import Regularizer


def class_token_contrast(tokens: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Cross entropy of the similarities of class tokens (MCTformer+).

    In each block, cosines between the tokens of one image are a K x K
    matrix; a row is classified, and the right answer is the token itself.
    Only rows of classes the image shows count. Cosines have no temperature,
    so a row's loss lies between log(1 + (K - 1) / e^2), where all others are
    opposite, and log(K), where all tokens are equal.

    Args:
        tokens (Sequence[Tensor]): Per block (N, K, D).
        labels (Tensor): Multi-hot (N, K); classes that nobody knows about
            (nan) count as absent.

    Returns:
        Tensor: Scalar, at least float32: the mean over an image's classes,
        over blocks and over images. An image without any class gives 0.
    """
    stacked = torch.stack(tuple(tokens))
    # Half precision has no room for small differences of cosines.
    stacked = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
    with torch.autocast(stacked.device.type, enabled=False):
        unit = F.normalize(stacked, dim=-1)
        cosines = unit @ unit.transpose(-2, -1)
        own = cosines.diagonal(dim1=-2, dim2=-1)
        loss = (cosines.logsumexp(dim=-1) - own).mean(dim=0)
    present = labels > 0
    count = present.sum(dim=1).clamp(min=1)
    return ((loss * present).sum(dim=1) / count).mean()


@MODELS.register_module()
class ClassTokenContrast(Regularizer):
    """Contrastive class tokens (MCTformer+, arXiv 2308.03005).

    Tokens that begin as copies of one class token, and see the same patches,
    stay alike; this pushes the tokens of the classes an image shows away from
    all others of that image, after every block. Needs a backbone with one
    class token per class, ``AttentionViT(num_class_tokens=K)``.

    Args:
        loss_weight (float): Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """``loss_contrast`` of the first view.

        Args:
            pair (ViewPair): Its first view with ``class_tokens``.

        Raises:
            ValueError: If there is not one token per class.
        """
        view = pair.first
        count, num_classes = view.class_tokens[-1].shape[1], len(
            view.labels[0])
        if count != num_classes:
            raise ValueError(
                f'ClassTokenContrast found {count} class tokens and labels '
                f'of {num_classes} classes. Set '
                'model.backbone.num_class_tokens to the latter.')
        return dict(
            loss_contrast=self.loss_weight * class_token_contrast(
                view.class_tokens, view.labels))
