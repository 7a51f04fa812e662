"""Cross entropy that does not depend on how a batch is shared."""
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .affinity_loss import global_means


@MODELS.register_module()
class GlobalCrossEntropy(nn.Module):
    """Mean of the cross entropy over the labelled pixels of all processes.

    mmseg's ``CrossEntropyLoss(avg_non_ignore=True)`` takes the mean of each
    process; where pseudo masks ignore much in the images of one process and
    little in those of another, the mean of these means is another number.
    ``loss_decode`` of any mmseg decode head.

    Args:
        loss_weight (float): Factor. Defaults to 1.0.
        loss_name (str): Name in the log of an mmseg head. Defaults to
            'loss_ce'.
    """

    def __init__(self,
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_ce') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Tensor | None = None,
                ignore_index: int = 255,
                **unread: Any) -> Tensor:
        """Compute the loss.

        Args:
            cls_score (Tensor): Logits (N, C, H, W).
            label (Tensor): Classes (N, H, W), integers.
            weight (Tensor, optional): Weights of the pixels (N, H, W), of
                which the number of labelled pixels knows nothing.
                Defaults to None.
            ignore_index (int): Label of pixels that do not count.
                Defaults to 255.
            **unread: What other losses of a decoder read.

        Returns:
            Tensor: Scalar, 0 if all pixels are ignored.
        """
        # Ignored pixels are 0.
        losses = F.cross_entropy(
            cls_score.float(),
            label.long(),
            ignore_index=ignore_index,
            reduction='none')
        if weight is not None:
            losses = losses * weight.float()
        mean, = global_means([losses.sum()], [(label != ignore_index).sum()],
                             eps=1e-12)
        return self.loss_weight * mean
