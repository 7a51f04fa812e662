"""PAMR on full-size and on coarse maps."""
from torch.testing import assert_close

from mmwsss.pseudo_labels.pamr import PAMR

from .acr_helpers import tensor

FAMILIES = ('getam_pamr', )


def test_pamr(vector):
    image, mask = tensor(vector['image']), tensor(vector['mask'])
    dilations = vector['dilations'].tolist()
    for steps, name in ((1, 'out_iter1'), (int(vector['num_iter']), 'out')):
        refined = PAMR(steps, dilations)(image, mask)
        assert_close(refined, tensor(vector[name]), rtol=0, atol=1e-5)
