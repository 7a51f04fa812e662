"""CAMs after the model's own refiner."""
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

from .localizer import Localizer

if TYPE_CHECKING:
    from mmseg.models.segmentors import BaseSegmentor


@MODELS.register_module()
class RefinedCAM(Localizer):
    """The refined maps of the asked classes, as SEAM reads them.

    (SEAM, CVPR 2020, section 3.3: at test time only the refined maps count.)
    They are brought to the size of the network's input with corners aligned,
    then, by the segmentor, to the original image without, like in the
    authors' code.
    """
    needs_refined_cams = True
    # The refiner divides maps by their maximum first.
    fits_in_tiles = False

    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """``model.refiner(view, class_ids)`` at input size, (N, K', H, W)."""
        return F.interpolate(
            model.refiner(view, class_ids),
            size=view.image.shape[-2:],
            mode='bilinear',
            align_corners=True)
