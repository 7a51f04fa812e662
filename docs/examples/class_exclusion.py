"""A paper in one file: two classes should not claim the same pixels.

An image with the labels dog and sofa has two CAMs. If dogs and sofas often
occur together, nothing in a classification loss keeps the CAM of the sofa off
the dog. But a pixel shows one class: where several CAMs are high, all but the
highest are wrong.
"""
from torch import Tensor

from mmwsss.models.regularizers import Regularizer
from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair


def class_overlap(cams: Tensor, labels: Tensor, eps: float = 1e-5) -> Tensor:
    """How much the labelled classes of an image claim each other's pixels.

    CAMs are rectified and divided by their maximum. A pixel's overlap is the
    sum of all its values but the highest: 0 where one class stands alone, at
    most the number of labelled classes minus 1. The maxima have no gradient,
    or a single high peak would be a way to make all the rest of a CAM small.

    Args:
        cams (Tensor): Raw CAMs (N, K, h, w).
        labels (Tensor): Multi-hot image-level labels (N, K).
        eps (float): Added to the maxima. Defaults to 1e-5.

    Returns:
        Tensor: Mean over pixels and images, a scalar.
    """
    maps = cams.relu() * labels[:, :, None, None]
    maps = maps / (maps.detach().amax(dim=(2, 3), keepdim=True) + eps)
    return (maps.sum(dim=1) - maps.amax(dim=1)).mean()


@MODELS.register_module()
class ClassExclusion(Regularizer):
    """Punish pixels that several labelled classes claim.

    Args:
        loss_weight (float): Defaults to 0.1.
    """

    def __init__(self, loss_weight: float = 0.1) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """``loss_overlap``, and ``overlap`` without weight for the log."""
        overlap = class_overlap(pair.first.cams, pair.first.labels)
        return dict(
            loss_overlap=self.loss_weight * overlap, overlap=overlap.detach())
