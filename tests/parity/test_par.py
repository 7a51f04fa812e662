"""PAR, whose weights sum to 1.01."""
from torch.testing import assert_close

from mmwsss.pseudo_labels.pamr import PAMR

from .acr_helpers import tensor

FAMILIES = ('par', )


def test_par(vector):
    par = PAMR(
        int(vector['num_iters']), vector['dilations'].tolist(), kernel='par')
    refined = par(tensor(vector['image']), tensor(vector['maps']))
    assert_close(refined, tensor(vector['out']), rtol=0, atol=1e-5)
