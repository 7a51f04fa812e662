"""Base of the heads that turn a view into image-level class scores."""
from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.structures.view_output import AttentionRequest, ViewOutput

from ..losses.multilabel_loss import multilabel_loss


class ClassHead(BaseModule, metaclass=ABCMeta):
    """Image-level classification head.

    Args:
        num_classes (int): Classes without background, K.
        in_channels (int): Channels of the features read.
        loss_weight (float): Factor on the classification loss of each view.
            Defaults to 1.0.
        init_cfg (dict, optional): Initialisation. Defaults to None.
    """
    #: Whether the logits depend on the class token of the last layer alone.
    reads_class_token_only = False
    #: Whether the head scores the background of every position as well and
    #: has a method ``pixel_logits(view)`` that gives (N, K + 1, h, w).
    with_background = False

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 loss_weight: float = 1.0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.loss_weight = loss_weight
        # mmseg's base class and tools read these from any decode head.
        self.align_corners = False
        self.out_channels = num_classes + 1

    def attention_request(self) -> AttentionRequest | None:
        """What the head itself needs of a transformer's forward pass.

        Returns:
            AttentionRequest | None: None when it reads feature maps.
        """
        if self.reads_class_token_only:
            return AttentionRequest(patch_tokens=False)
        return None

    @abstractmethod
    def forward(self, view: ViewOutput) -> Tensor:
        """Class scores before the sigmoid.

        Args:
            view (ViewOutput): The view.

        Returns:
            Tensor: Logits (N, K).
        """

    @abstractmethod
    def cams(self, view: ViewOutput) -> Tensor:
        """Raw class activation maps.

        Args:
            view (ViewOutput): The view.

        Returns:
            Tensor: (N, K, h, w), not rectified.
        """

    def loss(self, view: ViewOutput) -> Tensor:
        """Multi-label soft margin loss of a view against its tags.

        Args:
            view (ViewOutput): View with ``logits`` and ``labels`` (N, K),
                nan for classes that nobody knows about, which are left out.

        Returns:
            Tensor: Scalar, the mean over classes and images, weighted.
        """
        return self.loss_weight * multilabel_loss(view.logits, view.labels)
