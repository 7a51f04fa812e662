"""Vectors of FBR with the background last, read with it first."""
import json

import numpy as np
import torch
from torch.testing import assert_close


def meta(vector) -> dict:
    return json.loads(str(vector['meta']))


def background_last(vector) -> bool:
    """Whether planes and labels of the vector end with the background."""
    return meta(vector)['mode'] == 'is'


def recipe(vector) -> dict:
    """Settings of AMN's or I+S's branch, the vector's own where it has any.

    The quantile of the entropy, the share r of sure pixels and the divisor of
    the number of pixels that a prototype is the mean of.
    """
    last = background_last(vector)
    named = dict(
        r=0.6 if last else 0.4,
        quantile=0.1 if last else 0.25,
        div=16 if last else 32)
    return {**named, **meta(vector)}


def tensor(array, dtype=torch.float32) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array)).to(dtype)


def planes(vector, name: str, dim: int = 1) -> torch.Tensor:
    """Float values per plane, the background first."""
    values = tensor(vector[name])
    return values.roll(1, dims=dim) if background_last(vector) else values


def ids(vector, name: str, num_planes: int) -> torch.Tensor:
    """Indices of planes, the background 0."""
    values = tensor(vector[name], torch.int64)
    return (values + 1) % num_planes if background_last(vector) else values


def check(found, expected, rtol: float = 1e-5) -> None:
    """Equal to rtol of the largest entry."""
    expected = expected if torch.is_tensor(expected) else tensor(expected)
    expected = expected.reshape(found.shape).to(found)
    scale = float(expected.abs().max()) if expected.numel() else 0.
    assert_close(found, expected, rtol=0, atol=rtol * scale + 1e-12)
