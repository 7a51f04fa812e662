"""Fusion of IRN's CAMs over scales."""
import numpy as np
import torch
from torch.testing import assert_close

from mmwsss.models.localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_maps,
)

FAMILIES = ('irn_cam_fusion', )


def test_irn_cam_fusion(vector):
    size = vector['high_res'].shape[-2:]
    strided = [(s - 1) // 4 + 1 for s in size]
    up = [(s + 15) // 16 * 16 for s in size]
    keys = torch.from_numpy(np.flatnonzero(vector['label20']))
    assert keys.tolist() == vector['keys'].tolist()
    views = []
    for i in range(sum(name.startswith('net_cam_') for name in vector)):
        plain, mirrored = torch.from_numpy(vector[f'net_cam_{i}']).relu()
        views.append((plain + mirrored.flip(-1))[keys])
    low = fuse_maps([resize_maps(v, strided, False) for v in views], 'sum')
    covered = tuple(s / u for s, u in zip(size, up))
    high = fuse_maps([resize_maps(v, size, False, covered) for v in views],
                     'sum')
    for maps, name in ((low, 'strided_cam'), (high, 'high_res')):
        assert_close(
            normalize_maps(maps, 'max', 1e-5),
            torch.from_numpy(vector[name]),
            rtol=1e-5,
            atol=1e-5)
