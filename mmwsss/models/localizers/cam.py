"""Class activation maps."""
from typing import TYPE_CHECKING

from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

from .localizer import Localizer, gather_classes

if TYPE_CHECKING:
    from mmseg.models.segmentors import BaseSegmentor


@MODELS.register_module()
class CAM(Localizer):
    """The head's own CAMs, negatives cut off.

    (Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016.) With a ``ClassTokenHead`` this is the patch CAM of ACR's code.

    Args:
        align_corners (bool): Corner alignment when maps are brought to image
            size. Defaults to False.
    """

    def __init__(self, align_corners: bool = False) -> None:
        self.align_corners = align_corners

    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """``relu(view.cams)`` of the asked classes, (N, K', h, w)."""
        return gather_classes(view.cams, class_ids).relu()
