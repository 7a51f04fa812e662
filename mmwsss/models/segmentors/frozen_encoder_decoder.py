"""Encoder-decoder whose encoder is frozen and sees images of any size."""

from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS

from .multi_scale_encoder_decoder import resize_labels


@MODELS.register_module()
class FrozenEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` on :class:`FrozenFeatures`.

    Two things differ, in training only. Images of a batch keep their own
    sizes. And losses are computed at the positions of the features: a label
    is the one of the pixel nearest to the position's centre, padding is
    ignored. So a linear head (``FCNHead`` with ``num_convs=0,
    kernel_size=1``) trains in milliseconds per step.
    """

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict:
        """Losses of the decode heads.

        Args:
            inputs (Tensor): (N, 3, H, W), padded at the right and bottom.
            data_samples (list[SegDataSample]): With ``gt_sem_seg``
                (1, H, W); ``img_shape`` is the size without padding.

        Returns:
            dict[str, Tensor]: ``decode.*`` and ``aux.*``.
        """
        sizes = [tuple(s.img_shape[:2]) for s in data_samples]
        maps, valid = self.backbone.forward_sized(inputs, sizes)
        samples = labels_at(maps, valid, data_samples, sizes)
        losses = self._decode_head_forward_train((maps, ), samples)
        if self.with_auxiliary_head:
            losses.update(
                self._auxiliary_head_forward_train((maps, ), samples))
        return losses


def labels_at(maps: Tensor, valid: Tensor, samples: list[SegDataSample],
              sizes: list[tuple[int, int]],
              ignore_index: int = 255) -> list[SegDataSample]:
    """Labels at the positions of feature maps.

    Args:
        maps (Tensor): (N, C, h, w).
        valid (Tensor, optional): bool (N, 1, h, w), see
            :meth:`FrozenFeatures.forward_sized`.
        samples (list[SegDataSample]): With ``gt_sem_seg`` (1, H, W).
        sizes (list[tuple[int, int]]): Of the images without padding.
        ignore_index (int): Label of the rest. Defaults to 255.

    Returns:
        list[SegDataSample]: With ``gt_sem_seg`` (1, h, w).
    """
    found = []
    for i, (sample, (height, width)) in enumerate(zip(samples, sizes)):
        grid = maps.shape[2:]
        if valid is not None:
            grid = (int(valid[i, 0, :, 0].sum()), int(valid[i, 0, 0].sum()))
        own = SegDataSample(
            gt_sem_seg=PixelData(
                data=sample.gt_sem_seg.data[:, :height, :width]))
        small = resize_labels([own], grid)[0].gt_sem_seg.data
        label = small.new_full((1, *maps.shape[2:]), ignore_index)
        label[:, :grid[0], :grid[1]] = small
        found.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    return found


