"""Random numbers that belong to an image and a step."""
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def image_draws(img_ids: Sequence[str], count: int, seed: int,
                step: int) -> Tensor:
    """Uniform numbers that do not depend on an image's company.

    The same image of the same step gets the same numbers however a batch is
    spread over processes, and after a resume.

    Args:
        img_ids (Sequence[str]): Of N images.
        count (int): Numbers for each.
        seed (int): Of the run.
        step (int): Of the training.

    Returns:
        Tensor: float32 (N, count) in [0, 1), on the host.
    """
    rows = []
    for img_id in img_ids:
        digest = hashlib.sha256(f'{seed} {step} {img_id}'.encode()).digest()
        generator = torch.Generator().manual_seed(
            int.from_bytes(digest[:7], 'big'))
        rows.append(torch.rand(count, generator=generator))
    return torch.stack(rows)
