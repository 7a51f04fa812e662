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

        A model asks when it is built, so this is where a localizer refuses
        one that it cannot read.

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


def check_class_tokens(localizer: Localizer, model: 'BaseSegmentor') -> None:
    """Make sure that a transformer has one class token per class.

    Args:
        localizer (Localizer): What reads them, for the message.
        model (BaseSegmentor): The model to be read.

    Raises:
        ValueError: If it has another number.
    """
    count = model.cls_head.num_classes
    found = getattr(model.backbone, 'num_class_tokens', count)
    if found != count:
        raise ValueError(
            f'{type(localizer).__name__} found {found} class tokens for '
            f'{count} classes. Set model.backbone.num_class_tokens to '
            'model.cls_head.num_classes.')


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
