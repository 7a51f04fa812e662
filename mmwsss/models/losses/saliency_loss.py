"""The background's probability compared with a saliency map."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.pseudo_labels.label_completion import MINED
from mmwsss.registry import MODELS


@MODELS.register_module()
class SaliencyLoss(nn.Module):
    """Binary cross entropy of the background's probability.

    Its target is 1 - [S > 0], where S is the saliency map with the pixels
    that label completion mined (GETAM, https://arxiv.org/abs/2112.02841), on
    all pixels. A mean over pixels needs no further care on several processes,
    which all have as many.

    Args:
        official_bug (bool): Whether the target is that of the published
            code, 0 at mined pixels and 1 everywhere else. It asks for
            background inside salient objects, which the paper does not mean.
            Defaults to False.
        loss_weight (float): Factor. Defaults to 1.0.
    """

    def __init__(self,
                 official_bug: bool = False,
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        self.official_bug = official_bug
        self.loss_weight = loss_weight

    def target(self, saliency: Tensor) -> Tensor:
        """Where the background's probability shall be 1.

        Args:
            saliency (Tensor): (N, H, W): 0, 1 or 255 as
                :class:`~mmwsss.pseudo_labels.LabelCompletion` returns it.

        Returns:
            Tensor: float32 (N, H, W), 0 or 1.
        """
        if self.official_bug:
            return (saliency != MINED).float()
        return (saliency <= 0).float()

    def forward(self,
                logits: Tensor,
                labels: Tensor | None = None,
                *,
                image: Tensor | None = None,
                valid: Tensor | None = None,
                saliency: Tensor | None = None) -> Tensor | None:
        """Compute the loss.

        Args:
            logits (Tensor): (N, C + 1, H, W), background first.
            labels (Tensor, optional): Not read.
            image (Tensor, optional): Not read.
            valid (Tensor, optional): Not read: what lies outside the image
                is not salient.
            saliency (Tensor, optional): (N, H, W), see :meth:`target`.

        Returns:
            Tensor or None: Scalar; None without saliency.
        """
        if saliency is None:
            return None
        logits = logits.float()
        # The logit of softmax(Z)_0, safe where that rounds to 0 or 1.
        background = logits[:, 0] - logits[:, 1:].logsumexp(dim=1)
        return self.loss_weight * F.binary_cross_entropy_with_logits(
            background, self.target(saliency))
