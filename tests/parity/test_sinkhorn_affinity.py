"""CLIP-ES' affinity: normalised three times, made symmetric, squared."""
import torch
from torch.testing import assert_close

from mmwsss.models.refiners.frozen_affinity import sinkhorn_affinity

from .acr_helpers import tensor

FAMILIES = ('sinkhorn_affinity', )


def test_sinkhorn_affinity(vector):
    affinity = tensor(vector['affinity'])[None]
    refined = sinkhorn_affinity(tensor(vector['maps'])[None], affinity)
    assert_close(refined[0], tensor(vector['out']), rtol=0, atol=1e-6)


def test_sinkhorn_transition(vector):
    positions = len(vector['affinity'])
    affinity = tensor(vector['affinity'])[None]
    # Of one map per position that is 1 there only, the result is the matrix.
    maps = torch.eye(positions)[None, :, None]
    refined = sinkhorn_affinity(maps, affinity)[0, :, 0]
    assert_close(refined, tensor(vector['transition']), rtol=0, atol=1e-6)
