"""Where a batch shows images and not padding."""
from collections.abc import Sequence

import torch
from mmseg.structures import SegDataSample
from torch import Tensor


def stack_valid(data_samples: Sequence[SegDataSample],
                inputs: Tensor) -> Tensor:
    """Which pixels of a batch show an image.

    Args:
        data_samples (Sequence[SegDataSample]): ``valid_mask`` (1, h, w)
            where only a part does; else ``img_shape`` (h, w) counts if it is
            known.
        inputs (Tensor): (N, 3, H, W), possibly padded further at the right
            and bottom.

    Returns:
        Tensor: Bool (N, H, W).
    """
    valid = torch.ones_like(inputs[:, 0], dtype=torch.bool)
    for mask, sample in zip(valid, data_samples):
        if 'valid_mask' in sample:
            part = sample.valid_mask.data[0]
            mask.fill_(False)
            mask[:part.shape[0], :part.shape[1]].copy_(part)
        elif 'img_shape' in sample:
            height, width = sample.img_shape[:2]
            mask[height:] = False
            mask[:, width:] = False
    return valid
