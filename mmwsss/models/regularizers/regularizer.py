"""Interface of a regularizer."""
from abc import ABCMeta, abstractmethod
from typing import Callable, Dict, Optional

from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.structures.view_output import AttentionRequest, ViewOutput


class Regularizer(BaseModule, metaclass=ABCMeta):
    """An extra training loss on one or two views.

    A regularizer may own parameters. State that must outlive a step is a
    buffer, so that a checkpoint resumes it exactly.
    """
    #: Whether the model must be configured with a second view.
    needs_second_view = False
    #: Whether the model must be configured with a refiner.
    needs_refined_cams = False
    #: Whether it takes ``refined_cams`` as constants, so that it does not
    #: train the refiner.
    detaches_refined_cams = False
    #: Whether the model's head must score the background (``pixel_logits``).
    needs_pixel_logits = False

    def attention_request(self) -> Optional[AttentionRequest]:
        """Which attention the backbone must show during training.

        Returns:
            AttentionRequest | None: None when no attention is read.
        """
        return None

    @abstractmethod
    def forward(self,
                view: ViewOutput,
                other: Optional[ViewOutput] = None,
                *,
                transform: Optional[Callable[[Tensor], Tensor]] = None,
                inverse: Optional[Callable[[Tensor], Tensor]] = None,
                batch: dict) -> Dict[str, Tensor]:
        """Loss terms.

        Args:
            view (ViewOutput): First view.
            other (ViewOutput, optional): Second view.
            transform (Callable, optional): Brings maps (N, C, H, W) of the
                first view, at the size of its image, into the frame of
                ``other`` and the size of its image; the identity if
                ``other.aligned``.
            inverse (Callable, optional): Brings a map (N, C, h, w) of
                ``other``, at the size of its maps, into the frame and size
                of the first view's maps; the identity if ``other.aligned``.
            batch (dict): ``inputs`` (N, 3, H, W) and ``data_samples``.

        Returns:
            dict[str, Tensor]: Scalars named ``loss_*`` are added to the
            total; other scalars are logged.
        """
