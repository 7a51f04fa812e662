"""Pixel pairs of PSA and IRNet: indices, offsets and paths."""
import json

import numpy as np
import torch

from mmwsss.pseudo_labels.pixel_pairs import (
    pair_offsets,
    pair_values,
    path_cells,
    path_offsets,
)

FAMILIES = ('psa_indices', 'irn_path_index')


def indices(size, radius, offsets):
    """Flat indices of the pairs' ends, (n) and (P, n)."""
    numbers = torch.arange(size[0] * size[1]).view(1, 1, *size)
    source, target = pair_values(numbers, offsets, radius)
    return source[0, 0, 0].numpy(), target[0, 0].numpy()


def test_pairs(vector):
    meta = json.loads(str(vector['meta']))
    radius, size = meta['radius'], tuple(meta['size'])
    if vector.name.startswith('psa'):
        offsets = pair_offsets(radius)
        np.testing.assert_array_equal(offsets, vector['offsets_dy_dx'])
        source, target = indices(size, radius, offsets)
        np.testing.assert_array_equal(source, vector['ind_from'])
        np.testing.assert_array_equal(target, vector['ind_to'])
        return

    offsets = path_offsets(radius)
    np.testing.assert_array_equal(offsets, vector['search_dst_dy_dx'])
    source, target = indices(size, radius, offsets)
    np.testing.assert_array_equal(source, vector['src_indices'])
    np.testing.assert_array_equal(target, vector['dst_indices'])
    paths = [np.array(path_cells(dy, dx)) for dy, dx in offsets]
    lengths = list(dict.fromkeys(len(p) for p in paths))
    assert lengths == vector['path_lengths_order'].tolist()
    for length in lengths:
        same = np.stack([p for p in paths if len(p) == length])
        np.testing.assert_array_equal(same, vector[f'paths_len{length}'])
        numbers = source + (same[..., 0] * size[1] + same[..., 1])[..., None]
        np.testing.assert_array_equal(
            numbers, vector[f'path_indices_len{length}'])
