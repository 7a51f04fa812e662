"""CoSA: CAMs that learn from the masks of a decoder."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .multilabel_loss import multilabel_loss


@torch.no_grad()
def class_probabilities(logits: Tensor,
                        labels: Tensor,
                        temperature: float = 0.01) -> Tensor:
    """What a decoder says of each class, absent ones left out.

    Args:
        logits (Tensor): (N, K + 1, H, W), background first.
        labels (Tensor): Multi-hot (N, K); classes that nobody knows about
            (nan) count as absent.
        temperature (float): Divides the logits. Defaults to 0.01.

    Returns:
        Tensor: float32 (N, K, H, W): softmax over background and present
        classes, without the background.
    """
    absent = F.pad(~(labels > 0), (1, 0))
    logits = logits.float() / temperature
    logits = logits.masked_fill(absent[..., None, None], -torch.inf)
    return logits.softmax(dim=1)[:, 1:]


def swapped_cam_loss(cams: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin loss of every position of the CAMs.

    Of the rectified CAMs, so a position where a class does not show is
    pushed down to 0 and no further.

    Args:
        cams (Tensor): Raw CAMs (N, K, h, w).
        targets (Tensor): Probabilities (N, K, H, W), taken as constants; they
            are resized to the CAMs.
        labels (Tensor): Multi-hot (N, K); classes that nobody knows about
            (nan) have no loss.

    Returns:
        Tensor: Scalar, the mean over classes and positions.
    """
    targets = F.interpolate(
        targets.detach(),
        size=cams.shape[-2:],
        mode='bilinear',
        align_corners=False)
    targets = targets.masked_fill(labels.isnan()[..., None, None], torch.nan)
    return multilabel_loss(cams.relu().movedim(1, 3).flatten(0, 2),
                           targets.movedim(1, 3).flatten(0, 2))


@MODELS.register_module()
class SwappedCAMLoss(nn.Module):
    """A teacher's masks supervise a student's CAMs (CoSA).

    (Yang et al., https://arxiv.org/abs/2402.17891.) See
    :func:`class_probabilities` and :func:`swapped_cam_loss`.

    Args:
        temperature (float): Divides the teacher's logits. Defaults to 0.01,
            with which the probabilities are nearly 0 and 1.
        loss_weight (float): Factor. Defaults to 0.05.

    Raises:
        ValueError: If ``temperature`` is not positive.
    """

    def __init__(self,
                 temperature: float = 0.01,
                 loss_weight: float = 0.05) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError('SwappedCAMLoss needs temperature > 0, got '
                             f'{temperature}.')
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, cams: Tensor, logits: Tensor,
                labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            cams (Tensor): The student's, raw, (N, K, h, w).
            logits (Tensor): The teacher's (N, K + 1, H, W), of any scale
                that ``temperature`` is meant for.
            labels (Tensor): Multi-hot (N, K), nan where nobody knows.

        Returns:
            Tensor: Scalar.
        """
        targets = class_probabilities(logits, labels, self.temperature)
        return self.loss_weight * swapped_cam_loss(cams, targets, labels)
