"""Scores of every position, told which classes there are (AMN)."""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput


@MODELS.register_module()
class LabelConditionedHead(BaseModule):
    """AMN's classifier of positions (arXiv 2203.16045).

    A linear layer encodes the tags of an image to one factor per channel;
    dropout and the sum of dilated 3 x 3 convolutions with bias, the pyramid
    of DeepLabV2, classify the product.

    Args:
        num_classes (int): Classes without background, K.
        in_channels (int): Channels C of the feature map read.
        in_index (int): Which of the backbone's feature maps to read.
            Defaults to -1.
        dilations (Sequence[int]): One per convolution.
            Defaults to (6, 12, 18, 24).
        dropout_ratio (float): Share of single values that are dropped before
            the convolutions; none in evaluation, unlike in the published
            code, whose dropout stays on. Defaults to 0.1.
        init_cfg (dict, optional): Initialisation. None keeps PyTorch's; the
            published code draws the weights of the convolutions with
            ``dict(type='Normal', layer='Conv2d', std=0.01)``.
            Defaults to None.
    """
    #: Read by segmentors and regularizers, see :class:`ClassHead`.
    with_background = True

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 in_index: int = -1,
                 dilations: Sequence[int] = (6, 12, 18, 24),
                 dropout_ratio: float = 0.1,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.in_index = in_index
        # mmseg's base class and tools read these from any decode head.
        self.align_corners = False
        self.out_channels = num_classes + 1
        self.label_encoder = nn.Linear(num_classes, in_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.branches = nn.ModuleList(
            nn.Conv2d(
                in_channels,
                num_classes + 1,
                3,
                padding=dilation,
                dilation=dilation) for dilation in dilations)

    def condition(self, feats: Tensor, labels: Tensor) -> Tensor:
        """Scale the channels by what the tags say.

        Args:
            feats (Tensor): (N, C, h, w).
            labels (Tensor): Multi-hot tags (N, K). Classes that nobody
                knows about (nan) count as absent, as in the seeds.

        Returns:
            Tensor: (N, C, h, w).
        """
        labels = labels.nan_to_num(0.)
        return feats * self.label_encoder(labels)[..., None, None]

    def classify(self, feats: Tensor) -> Tensor:
        """Classify every position.

        Args:
            feats (Tensor): Conditioned features (N, C, h, w).

        Returns:
            Tensor: Logits (N, K + 1, h, w), background first.
        """
        feats = self.dropout(feats)
        return sum(branch(feats) for branch in self.branches)

    def pixel_logits(self, view: ViewOutput) -> Tensor:
        """Logits (N, K + 1, h, w) of a view with conditioned features."""
        return self.classify(view.feats[self.in_index])

    def cams(self, view: ViewOutput) -> Tensor:
        """Logits of the classes alone, (N, K, h, w)."""
        return view.pixel_logits[:, 1:]
