"""The classification loss, with classes that nobody knows about."""
import torch
import torch.nn.functional as F
from torch import Tensor


def multilabel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin loss of the classes that are known.

    The mean over the known classes of each image, then over the images; an
    image of which nothing is known gives 0. Every image thus weighs the same,
    and the mean over processes is that over the whole batch. Where all is
    known, this is ``torch.nn.functional.multilabel_soft_margin_loss``.

    Args:
        logits (Tensor): (N, K).
        labels (Tensor): Multi-hot (N, K); nan where nobody knows.

    Returns:
        Tensor: Scalar. Logits of unknown classes get no gradient.
    """
    # Half precision would round small losses and gradients away.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    unknown = labels.isnan()
    labels = labels.masked_fill(unknown, 0)
    losses = -(labels * F.logsigmoid(logits) +
               (1 - labels) * F.logsigmoid(-logits))
    losses = losses.masked_fill(unknown, 0)
    counts = (~unknown).sum(dim=1).clamp(min=1)
    return (losses.sum(dim=1) / counts).mean()
