"""Interface of a localizer."""
from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmwsss.structures.view_output import AttentionRequest, ViewOutput

if TYPE_CHECKING:
    from mmseg.models.segmentors import BaseSegmentor


class Localizer(metaclass=ABCMeta):
    """Reads CAMs out of a trained classifier.

    ``align_corners`` says how its maps are brought to image size.
    """
    align_corners = False
    #: Whether the model must be configured with a refiner.
    needs_refined_cams = False
    #: Whether the model's head must score the background (``pixel_logits``).
    needs_pixel_logits = False
    #: Whether maps of parts of a picture fit together. Not if they are
    #: normalised within what the network sees.
    fits_in_tiles = True

    def attention_request(
            self, model: 'BaseSegmentor') -> AttentionRequest | None:
        """Which attention the backbone must show.

        Args:
            model (BaseSegmentor): The model to be read.

        Returns:
            AttentionRequest | None: None when no attention is read.
        """
        return None

    @abstractmethod
    def forward(self, model: 'BaseSegmentor', view: ViewOutput,
                class_ids: Tensor) -> Tensor:
        """CAMs of the asked classes of all images at once.

        Args:
            model (BaseSegmentor): The model that made the view.
            view (ViewOutput): One view of N images.
            class_ids (Tensor): Class indices (N, K'), -1 where an image has
                fewer classes than others.

        Returns:
            Tensor: Non-negative maps (N, K', h, w), zero for -1.
        """

    def __call__(self, model: 'BaseSegmentor', view: ViewOutput,
                 class_ids: Tensor) -> Tensor:
        maps = self.forward(model, view, class_ids)
        return maps * (class_ids >= 0)[:, :, None, None]


def gather_classes(values: Tensor, class_ids: Tensor) -> Tensor:
    """Pick classes per image, anything for the padding index -1.

    Args:
        values (Tensor): (N, K, ...).
        class_ids (Tensor): (N, K') with -1 as padding.

    Returns:
        Tensor: (N, K', ...).
    """
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, class_ids.clamp(min=0)]
