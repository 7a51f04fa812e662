"""From raw maps of two flips to normalised CAMs."""
from torch.testing import assert_close

from mmwsss.models.localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_maps,
)
from mmwsss.models.localizers.getam import affinity_refine

from .acr_helpers import tensor

FAMILIES = ('acr_fuse', )


def test_acr_fuse(vector):
    grid = tuple(int(g) for g in vector['grid'])
    size = tuple(int(s) for s in vector['out_hw'])
    n_patches = grid[0] * grid[1]
    ups = {}
    for view in ('plain', 'flipped'):
        attn = tensor(vector[f'attn_{view}_view'])
        affinity = attn[:, :, -n_patches:, -n_patches:].sum(dim=1)
        if f'aff_matrix_{view}_view' in vector:
            assert_close(
                affinity,
                tensor(vector[f'aff_matrix_{view}_view']),
                rtol=1e-5,
                atol=1e-6)
        maps = tensor(vector[f'cam_{view}_view'])[None]
        if vector['aff']:
            maps = affinity_refine(maps, affinity)
        maps = maps[0].unflatten(-1, grid)
        if view == 'flipped':
            maps = maps.flip(-1)
        ups[view] = resize_maps(maps, size, align_corners=True)
    for view, name in (('plain', 'cam_raw_up_plain_view'),
                       ('flipped', 'cam_raw_up_flipped_view_unflipped')):
        if name in vector:
            assert_close(
                ups[view], tensor(vector[name]), rtol=1e-5, atol=1e-5)
    fused = normalize_maps(fuse_maps(ups.values(), 'sum'), 'minmax', 1e-6)
    assert_close(fused, tensor(vector['norm_cam']), rtol=0, atol=1e-5)

    if 'patch_norm_cam' not in vector:
        return
    # The diagnostic patch CAM: other corner alignment and epsilon.
    patch = []
    for view in ('plain', 'flipped'):
        maps = tensor(vector[f'patch_logits_relu_{view}_view'])[0].T
        maps = maps[vector['keys']].unflatten(-1, grid)
        if view == 'flipped':
            maps = maps.flip(-1)
        patch.append(resize_maps(maps, size, align_corners=False))
    patch = normalize_maps(fuse_maps(patch, 'sum'), 'minmax', 1e-5)
    assert_close(patch, tensor(vector['patch_norm_cam']), rtol=0, atol=1e-5)
