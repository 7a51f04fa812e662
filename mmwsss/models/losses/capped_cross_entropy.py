"""Cross entropy that large losses of their neighbourhood cannot lead."""
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_world_size
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .affinity_loss import global_means


def loss_caps(losses: Tensor, valid: Tensor, cell: int,
              start: float) -> Tensor:
    """The largest loss a pixel may have (WeakTr, gradient clipping).

    The mean loss of the pixel's cell in all images of the batch, or that of
    the whole batch if it is larger; no bound while the mean loss of the batch
    is above ``start``. Cells lie side by side from the upper left corner,
    those at the right and bottom may be smaller. Pixels and images of all
    processes count.

    Args:
        losses (Tensor): Losses (N, H, W).
        valid (Tensor): Bool (N, H, W), the pixels that count.
        cell (int): Side of a cell in pixels.
        start (float): See above.

    Returns:
        Tensor: (H, W), without graph.

    Raises:
        ValueError: If the processes of a distributed training hold images
            of different sizes, whose cells cannot be put together.
    """
    losses = losses.detach()
    size = losses.shape[-2:]
    if get_world_size() > 1:
        sizes = all_gather(torch.tensor(size, device=losses.device))
        if any(not torch.equal(other, sizes[0]) for other in sizes):
            raise ValueError(
                'CappedCrossEntropy needs images of one size in all '
                f'processes, got {[tuple(s.tolist()) for s in sizes]}. Crop '
                'or pad to one size, e.g. with size=(H, W) in the '
                'data_preprocessor.')
    # Sums of losses and numbers of pixels. An average pooling would add up
    # a cell's pixels one by one, which costs three digits.
    cells = torch.stack((torch.where(valid, losses, 0).sum(dim=0),
                         valid.sum(dim=0).to(losses)))
    height, width = (min(cell, side) for side in size)
    cells = F.pad(cells, (0, -size[1] % width, 0, -size[0] % height))
    cells = cells.unflatten(2, (-1, width)).unflatten(1, (-1, height))
    cells = cells.sum(dim=(2, 4))
    all_reduce(cells)
    total, count = cells.sum(dim=(1, 2))
    mean = total / count.clamp(min=1)
    caps = torch.maximum(cells[0] / cells[1].clamp(min=1), mean)
    caps = torch.where(mean > start, torch.inf, caps)
    rows, columns = (
        torch.arange(side, device=caps.device) // cell for side in size)
    return caps[rows[:, None], columns]


@MODELS.register_module()
class CappedCrossEntropy(nn.Module):
    """Cross entropy whose largest values are cut off, for noisy masks.

    Where a pixel's loss is far above that of its neighbourhood, its label is
    probably wrong. Once the model is good enough, the loss of a pixel is
    therefore at most the mean of its cell or of the batch, whichever is
    larger, and where it reaches this it has no gradient. From the retraining
    of WeakTr (Zhu et al., https://arxiv.org/abs/2304.01184), where it is
    called gradient clipping; used as ``loss_decode`` of any mmseg decode head
    (or as a loss of :class:`mmwsss.EndToEndSegmentor`).

    Ignored pixels do not count anywhere. In the published code they are
    losses of zero that enter all three means, so the more is ignored, the
    lower the caps. It also fails unless the cells divide the image; here the
    last ones are smaller. All means count the pixels of the global batch, so
    several processes compute what one would.

    Args:
        cell (int): Side of a cell in pixels of the logits given, which mmseg
            enlarges to the labels first. Defaults to 120, meant for crops of
            480.
        start (float): Mean loss from which on losses are capped; it is that
            of a batch, so caps may come and go in between. Defaults to 1.2.
        loss_weight (float): Factor. Defaults to 1.0.
        loss_name (str): Name in the log of an mmseg head. Defaults to
            'loss_ce'.

    Raises:
        ValueError: If ``cell`` is not a positive integer or ``start`` not
            positive.
    """

    def __init__(self,
                 cell: int = 120,
                 start: float = 1.2,
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_ce') -> None:
        super().__init__()
        if cell != int(cell) or cell < 1:
            raise ValueError('CappedCrossEntropy needs a cell of 1 pixel or '
                             f'more, a whole number, got {cell}.')
        if not start > 0:
            raise ValueError('CappedCrossEntropy needs start > 0, got '
                             f'{start}; mmseg.CrossEntropyLoss has no caps.')
        self.cell = int(cell)
        self.start = start
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | None = None,
                reduction_override: str | None = None,
                ignore_index: int = 255,
                **unread: Any) -> Tensor:
        """Compute the loss.

        Args:
            cls_score (Tensor): Logits (N, C, H, W).
            label (Tensor): Classes (N, H, W), integers.
            weight (Tensor, optional): Weights of the pixels (N, H, W), of
                which caps know nothing. Defaults to None.
            avg_factor (float, optional): What the sum is divided by instead
                of the number of pixels that are not ignored.
            reduction_override (str, optional): 'mean', 'sum' or 'none'. None
                is 'mean'. Defaults to None.
            ignore_index (int): Label of pixels that do not count. Defaults
                to 255.
            **unread: What other losses of a decoder read.

        Returns:
            Tensor: Scalar, 0 if all pixels are ignored; (N, H, W) with
            'none', 0 where ignored.

        Raises:
            ValueError: If ``reduction_override`` is none of these.
        """
        reduction = reduction_override or 'mean'
        if reduction not in ('mean', 'sum', 'none'):
            raise ValueError("reduction_override must be 'mean', 'sum' or "
                             f"'none', got {reduction!r}.")
        # Ignored pixels are 0.
        losses = F.cross_entropy(
            cls_score.float(),
            label.long(),
            ignore_index=ignore_index,
            reduction='none')
        valid = label != ignore_index
        caps = loss_caps(losses, valid, self.cell, self.start)
        # Equal losses, those of a head that starts at zero, keep their
        # gradients although their mean is rounded.
        losses = torch.where(losses > caps * (1 + 1e-6), caps, losses)
        if weight is not None:
            losses = losses * weight.float()
        if reduction == 'none':
            return self.loss_weight * losses
        total = losses.sum()
        if reduction == 'mean':
            if avg_factor is None:
                total, = global_means([total], [valid.sum()], eps=1e-12)
            else:
                total = total / avg_factor
        return self.loss_weight * total

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'cell={self.cell}, start={self.start}'
