"""GETAM's coupling of attention and gradients."""
from torch.testing import assert_close

from mmwsss.models.localizers.getam import getam

from .acr_helpers import tensor

FAMILIES = ('getam_cam', )


def test_getam_cam(vector):
    attn, grad = tensor(vector['attn']), tensor(vector['grad'])
    compared = 0
    for start in vector['start_layers']:
        maps = getam(attn[start:], grad[start:], 'cam_grad_s',
                     int(vector['n_prefix']))
        for b, ours in enumerate(maps):
            ref = tensor(vector[f'cam_start{start}_b{b}'])
            assert_close(ours, ref, rtol=1e-5, atol=1e-6)
            # The values are small; compare their pattern as well.
            top = ref.max() + 1e-12
            assert_close(ours / top, ref / top, rtol=1e-4, atol=1e-4)
            compared += 1
    assert 0 < compared == sum(k.startswith('cam_') for k in vector)
