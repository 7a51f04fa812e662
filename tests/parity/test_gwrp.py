"""Global weighted rank pooling of class scores, and its gradient."""
from mmwsss.models.heads.pooling import GlobalWeightedRankPooling

from .fbr_helpers import check, tensor

FAMILIES = ('gwrp', )


def test_gwrp(vector):
    maps = tensor(vector['maps']).requires_grad_()
    logits = GlobalWeightedRankPooling(float(vector['decay']))(maps)
    check(logits, vector['logits'])
    logits.backward(tensor(vector['grad_logits']))
    check(maps.grad, vector['grad_maps'])
