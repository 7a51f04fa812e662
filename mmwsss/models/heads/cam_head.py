"""Classification from pooled CAMs."""
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

from .class_head import ClassHead


@MODELS.register_module()
class CAMHead(ClassHead):
    """1x1 convolution to CAMs, pooled to class scores.

    Without bias, global average pooling before or after the convolution is
    the same, so this is the classifier of CAM (Zhou et al., CVPR 2016) with
    its maps read during training at no cost.

    A pooling that does not commute with the convolution, such as
    :class:`HybridPooling`, says so (``pools_features``) and is applied to the
    features; the CAMs are then computed only for who reads them.

    Args:
        num_classes (int): Classes without background, K.
        in_channels (int): Channels C of the feature map read.
        in_index (int): Which of the backbone's feature maps to read.
            Defaults to -1.
        pooling (dict, optional): Pooling module. Defaults to
            ``dict(type='mmwsss.GlobalAveragePooling')``.
        dropout_ratio (float): Dropout on the features. Defaults to 0.
        pool_at_image_size (bool): Whether the maps are pooled after bilinear
            up-sampling (corners aligned) to the size of the image, as SEAM
            does; this gives the border half the weight. Only with a pooling
            of CAMs. Defaults to False.
        bias (bool): Whether the classes have a bias. It is added to the
            scores and is no part of the CAMs, since it knows no place.
            Defaults to False.
        bias_in_cams (bool): Whether the bias is part of the CAMs all
            the same. A map is then positive only where the position by
            itself speaks for the class, so its rectified part is narrower.
            Only with ``bias``. Defaults to False.
        with_background (bool): Whether the convolution has one more output,
            the last, for the background, as EPS needs it. The view then has
            ``pixel_logits``; what the tags are compared with does not change.
            Defaults to False.
        **kwargs: See :class:`ClassHead`.

    Raises:
        ValueError: If ``pool_at_image_size`` is set with a pooling of
            features, or ``bias_in_cams`` without a bias.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 in_index: int = -1,
                 pooling: dict | None = None,
                 dropout_ratio: float = 0.,
                 pool_at_image_size: bool = False,
                 bias: bool = False,
                 bias_in_cams: bool = False,
                 with_background: bool = False,
                 **kwargs: Any) -> None:
        kwargs.setdefault(
            'init_cfg', dict(type='Kaiming', layer='Conv2d', a=1))
        super().__init__(num_classes, in_channels, **kwargs)
        self.in_index = in_index
        self.pool_at_image_size = pool_at_image_size
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.with_background = with_background
        self.conv = nn.Conv2d(
            in_channels, num_classes + int(with_background), 1, bias=bias)
        if bias_in_cams and not bias:
            raise ValueError('CAMHead(bias_in_cams=True) has no bias; set '
                             'bias=True as well.')
        self.bias_in_cams = bias_in_cams
        self.pooling = MODELS.build(
            pooling or dict(type='mmwsss.GlobalAveragePooling'))
        self.pools_features = getattr(self.pooling, 'pools_features', False)
        if self.pools_features and pool_at_image_size:
            raise ValueError(
                'CAMHead(pool_at_image_size=True) pools enlarged CAMs, '
                f'but {type(self.pooling).__name__} pools features. Set '
                'pool_at_image_size=False or take '
                "pooling=dict(type='mmwsss.GlobalAveragePooling').")

    def maps(self, view: ViewOutput) -> Tensor:
        """All maps of the convolution, with the bias if ``bias_in_cams``."""
        return F.conv2d(
            self.dropout(view.feats[self.in_index]), self.conv.weight,
            self.conv.bias if self.bias_in_cams else None)

    def pixel_logits(self, view: ViewOutput) -> Tensor:
        """Maps of the background, then of the classes, (N, K + 1, h, w)."""
        return self.maps(view).roll(1, dims=1)

    def cams(self, view: ViewOutput) -> Tensor:
        """CAMs (N, K, h, w), with the bias if ``bias_in_cams``."""
        if self.with_background:
            return view.pixel_logits[:, 1:]
        return self.maps(view)

    def forward(self, view: ViewOutput) -> Tensor:
        """Logits (N, K), pooled from the view's CAMs or features.

        Args:
            view (ViewOutput): The view.

        Returns:
            Tensor: (N, K).

        Raises:
            ValueError: If the maps are padded and the pooling cannot leave
                the padding out.
        """
        valid = view.fields.get('valid')
        if valid is not None and (self.pool_at_image_size or not getattr(
                self.pooling, 'takes_valid', False)):
            raise ValueError(
                'The images of this batch differ in size, and '
                f'{type(self.pooling).__name__} would pool their padding. '
                'Take mmwsss.GlobalWeightedRankPooling or '
                'mmwsss.GlobalAveragePooling (without pool_at_image_size), '
                'bring images to one size in the training pipeline, or train '
                'with batch_size=1.')
        if self.pools_features:
            pooled = self.pooling(self.dropout(view.feats[self.in_index]))
            scores = self.conv(pooled[..., None, None]).flatten(1)
            return scores[:, :self.num_classes]
        maps = view.cams
        if self.pool_at_image_size:
            maps = F.interpolate(
                maps,
                size=view.image.shape[-2:],
                mode='bilinear',
                align_corners=True)
        scores = self.pooling(maps) if valid is None else self.pooling(
            maps, valid)
        if self.conv.bias is None or self.bias_in_cams:
            # All poolings of CAMs keep a constant as it is.
            return scores
        return scores + self.conv.bias[:self.num_classes]
