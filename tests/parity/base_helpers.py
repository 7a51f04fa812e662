"""What the vectors of FBR's base networks have in common."""
import json

import numpy as np
import torch
from torch.testing import assert_close

from .acr_helpers import tensor


def meta(vector) -> dict:
    """The settings of a vector."""
    return json.loads(str(vector['meta']))


def check(found, expected, rtol=1e-5):
    """Equal to a part of the largest entry."""
    expected = tensor(expected)
    scale = float(expected.abs().max()) if expected.numel() else 0.
    assert_close(found.detach().float(), expected, rtol=0,
                 atol=rtol * scale + 1e-12)


def classes(array: np.ndarray, index: int, axis: int = 1) -> np.ndarray:
    """Planes with the background, at ``index``, moved to the front."""
    return np.concatenate((array.take([index], axis),
                           np.delete(array, index, axis)), axis)


def ids(array: np.ndarray, index: int) -> torch.Tensor:
    """Labels whose background is ``index`` as ours, where it is 0."""
    array = array.astype(np.int64)
    return torch.from_numpy(
        np.where(array == index, 0, array + (array < index)))
