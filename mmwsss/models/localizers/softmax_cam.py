"""CAMs that compete with each other and with the background."""
from typing import TYPE_CHECKING

from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

from .localizer import Localizer, gather_classes

if TYPE_CHECKING:
    from mmseg.models.segmentors import BaseSegmentor


@MODELS.register_module()
class SoftmaxCAM(Localizer):
    """Probabilities of the asked classes, as EPS reads them.

    (Lee et al., "Railroad is not a Train", CVPR 2021; PPC and FBR in setting
    I+S do the same.) The softmax runs over the raw maps of the background and
    of all classes, tagged or not; a refiner has no part in it. Needs a head
    that scores the background, ``CAMHead(with_background=True)``.

    Args:
        align_corners (bool): Corner alignment when maps are brought to image
            size. Defaults to False.
    """
    needs_pixel_logits = True

    def __init__(self, align_corners: bool = False) -> None:
        self.align_corners = align_corners

    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """Probabilities of the asked classes, (N, K', h, w)."""
        prob = view.pixel_logits.float().softmax(dim=1)
        return gather_classes(prob[:, 1:], class_ids)
