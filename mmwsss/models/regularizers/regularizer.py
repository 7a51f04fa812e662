"""Interface of a regularizer."""
from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.structures.view_output import AttentionRequest, ViewPair


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
    #: Whether the model must be configured with an auxiliary head.
    needs_auxiliary_head = False
    #: Whether the model's head must score the background (``pixel_logits``).
    needs_pixel_logits = False

    def attention_request(self) -> AttentionRequest | None:
        """Which attention the backbone must show during training.

        Returns:
            AttentionRequest | None: None when no attention is read.
        """
        return None

    @abstractmethod
    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """Loss terms.

        Args:
            pair (ViewPair): One or two views of the batch, how maps get from
                one to the other, and the samples.

        Returns:
            dict[str, Tensor]: Scalars named ``loss_*`` are added to the
            total; other scalars are logged. The model puts the name that the
            config gives this regularizer and a dot before their names.
        """
