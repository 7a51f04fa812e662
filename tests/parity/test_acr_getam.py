"""Coupling attention and gradients into CAMs."""
from torch.testing import assert_close

from mmwsss.models.localizers.getam import COUPLINGS, getam

from .acr_helpers import tensor

FAMILIES = ('acr_getam', )


def test_acr_getam(vector):
    attn, grad = tensor(vector['attn']), tensor(vector['grad'])
    compared = 0
    for func in COUPLINGS:
        if not any(k.startswith(f'cam_{func}_start') for k in vector):
            continue
        for start in vector['start_layers']:
            maps = getam(attn[start:], grad[start:], func,
                         int(vector['n_prefix']))
            for b, ours in enumerate(maps):
                ref = tensor(vector[f'cam_{func}_start{start}_b{b}'])
                assert_close(ours, ref, rtol=1e-5, atol=1e-6)
                compared += 1
    assert 0 < compared == sum(k.startswith('cam_') for k in vector)
