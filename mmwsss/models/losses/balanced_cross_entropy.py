"""Cross entropy in which background and objects weigh the same."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .affinity_loss import global_means


@MODELS.register_module()
class BalancedCrossEntropy(nn.Module):
    """Mean over background pixels plus mean over foreground pixels.

    As in the training of GETAM (https://arxiv.org/abs/2112.02841) and, with
    ``label_smoothing=0.4`` and ``loss_weight=0.5``, of AMN
    (https://arxiv.org/abs/2203.16045).
    Both means count the pixels of the global batch, so a training on several
    processes computes what one process would. A batch without pixels of a
    kind has the mean 0, where the published codes give NaN.

    Args:
        loss_weight (float): Factor. Defaults to 1.0.
        label_smoothing (float): What the right class leaves to the others in
            equal parts, in [0, 1). Defaults to 0.

    Raises:
        ValueError: If ``label_smoothing`` is not in [0, 1).
    """

    def __init__(self,
                 loss_weight: float = 1.0,
                 label_smoothing: float = 0.) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError('BalancedCrossEntropy needs label_smoothing in '
                             f'[0, 1), got {label_smoothing}.')
        self.label_smoothing = label_smoothing
        self.loss_weight = loss_weight

    def forward(self,
                logits: Tensor,
                labels: Tensor,
                *,
                image: Tensor | None = None,
                valid: Tensor | None = None,
                saliency: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            logits (Tensor): (N, C + 1, H, W), background first.
            labels (Tensor): int64 (N, H, W), 0 = background, 255 = ignored.
            image (Tensor, optional): Not read, as all that follows.
            valid (Tensor, optional): Labels outside the image count: they
                are background, as in the published training.
            saliency (Tensor, optional): Not read.

        Returns:
            Tensor: Scalar.
        """
        num_classes = logits.shape[1]
        each = F.cross_entropy(
            logits.float(),
            labels,
            ignore_index=255,
            reduction='none',
            # PyTorch leaves the right class a share of what it spreads.
            label_smoothing=self.label_smoothing * num_classes /
            (num_classes - 1))
        kinds = torch.stack((labels == 0, (labels > 0) & (labels != 255)))
        means = global_means(
            torch.where(kinds, each, 0).sum(dim=(1, 2, 3)),
            kinds.sum(dim=(1, 2, 3)),
            eps=1e-12)
        return self.loss_weight * sum(means)
