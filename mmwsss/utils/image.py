"""From network inputs back to pictures."""
from collections.abc import Sequence

import torch
from torch import Tensor

from .transfer import send


def denormalize(image: Tensor, mean: Sequence[float],
                std: Sequence[float]) -> Tensor:
    """Undo the normalisation of a network input.

    Values are truncated to whole grey levels, as the code of ACR and GETAM
    does before it compares colours; a level is lost now and then.

    Args:
        image (Tensor): (..., 3, H, W), normalised.
        mean (Sequence[float]): Per channel, 0 to 255.
        std (Sequence[float]): Per channel, 0 to 255.

    Returns:
        Tensor: uint8 (..., 3, H, W).
    """
    # In 0..1 first, like theirs: another order rounds other pixels down, and
    # so would 57.12 / 255 = 0.22399999999999998 in place of 0.224.
    mean, std = send(
        torch.tensor([[round(v / 255, 9) for v in values]
                      for values in (mean, std)],
                     dtype=image.dtype), image.device)[..., None, None]
    return ((image * std + mean) * 255).clamp(0, 255).to(torch.uint8)
