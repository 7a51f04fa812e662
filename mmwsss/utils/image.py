"""From network inputs back to pictures."""
from typing import Sequence

import torch
from torch import Tensor


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
    shape = (-1, 1, 1)
    image = image * image.new_tensor(std).reshape(shape)
    image = image + image.new_tensor(mean).reshape(shape)
    return image.clamp(0, 255).to(torch.uint8)
