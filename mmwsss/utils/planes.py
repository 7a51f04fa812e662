"""Arrays of maps, one per class."""

import numpy as np
import torch
import torch.nn.functional as F


def resize_planes(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring maps to a size, bilinearly with ``align_corners=False``.

    Args:
        planes (ndarray): float32 (k, h, w); k may be 0.
        size (tuple[int, int]): Height and width.

    Returns:
        ndarray: float32 (k, *size).
    """
    size = tuple(int(s) for s in size)
    if planes.shape[1:] == size:
        return planes
    if len(planes) == 0:
        return np.zeros((0, *size), np.float32)
    return F.interpolate(
        torch.from_numpy(planes)[None],
        size=size,
        mode='bilinear',
        align_corners=False)[0].numpy()
