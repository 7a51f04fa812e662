"""Encoder-decoder that looks at several scales of an image at once."""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS


@MODELS.register_module()
class MultiScaleEncoderDecoder(EncoderDecoder):
    """Multi-scale training and testing of DeepLabV2 (arXiv 1606.00915, 4.1).

    The image and smaller copies of it run through the same network. In
    training, the logits of each scale and their element-wise maximum are
    compared with labels resized to the logits' size; the losses are added.
    In testing, the maximum is the result.

    Args:
        *args: For mmseg's ``EncoderDecoder``.
        scales (Sequence[float]): Scales beside 1. Defaults to (0.5, 0.75).
        **kwargs: For mmseg's ``EncoderDecoder``.

    Raises:
        ValueError: If there is an auxiliary head: it would not be trained.
    """

    def __init__(self,
                 *args: Any,
                 scales: Sequence[float] = (0.5, 0.75),
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.with_auxiliary_head:
            raise ValueError('MultiScaleEncoderDecoder trains its decode_head '
                             'at every scale and knows no auxiliary_head; '
                             'set it to None.')
        self.scales = tuple(scales)

    def scale_logits(self, inputs: Tensor) -> list[Tensor]:
        """Logits of every scale at the head's own resolution.

        Args:
            inputs (Tensor): Images (N, 3, H, W), normalised.

        Returns:
            list[Tensor]: (N, C, h, w) of scale 1, then of the others.
        """
        logits = [self.decode_head(self.extract_feat(inputs))]
        for scale in self.scales:
            size = [max(int(side * scale), 1) for side in inputs.shape[2:]]
            scaled = F.interpolate(inputs, size, mode='bilinear')
            logits.append(self.decode_head(self.extract_feat(scaled)))
        return logits

    def fuse(self, logits: Sequence[Tensor]) -> Tensor:
        """Element-wise maximum at the size of scale 1.

        Args:
            logits (Sequence[Tensor]): See :meth:`scale_logits`.

        Returns:
            Tensor: (N, C, h, w).
        """
        fused = logits[0]
        for other in logits[1:]:
            fused = torch.maximum(
                fused,
                F.interpolate(
                    other,
                    fused.shape[2:],
                    mode='bilinear',
                    align_corners=self.align_corners))
        return fused

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict:
        """Losses of every scale and of the maximum.

        Args:
            inputs (Tensor): Images (N, 3, H, W), normalised.
            data_samples (list[SegDataSample]): With ``gt_sem_seg``.

        Returns:
            dict[str, Tensor]: The head's losses, with the scale in the name.
        """
        logits = self.scale_logits(inputs)
        names = [f'scale_{s:g}' for s in (1, *self.scales)]
        outputs = dict(zip(names, logits))
        if self.scales:
            outputs['max'] = self.fuse(logits)
        losses = {}
        for name, output in outputs.items():
            found = self.decode_head.loss_by_feat(
                output, resize_labels(data_samples, output.shape[2:]))
            losses.update({f'{name}.{k}': v for k, v in found.items()})
        return losses

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """Fused logits at the size of the input; mmseg's ``predict`` asks.

        Args:
            inputs (Tensor): Images (N, 3, H, W), normalised.
            batch_img_metas (list[dict]): See mmseg.

        Returns:
            Tensor: (N, C, H, W).
        """
        return self.decode_head.predict_by_feat(
            self.fuse(self.scale_logits(inputs)), batch_img_metas)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return self.fuse(self.scale_logits(inputs))


def resize_labels(data_samples: Sequence[SegDataSample],
                  size: Sequence[int]) -> list[SegDataSample]:
    """Masks at another size, each pixel the one nearest to its centre.

    Args:
        data_samples (Sequence[SegDataSample]): With ``gt_sem_seg`` (1, H, W)
            of integers.
        size (Sequence[int]): Height and width.

    Returns:
        list[SegDataSample]: New samples with ``gt_sem_seg`` (1, h, w) alone.
    """
    resized = []
    for sample in data_samples:
        label = sample.gt_sem_seg.data
        # Class indices up to 255 are exact in float32.
        small = F.interpolate(
            label[None].float(), tuple(size), mode='nearest-exact')[0]
        resized.append(
            SegDataSample(gt_sem_seg=PixelData(data=small.to(label.dtype))))
    return resized
