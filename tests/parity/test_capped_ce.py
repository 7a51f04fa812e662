"""Cross entropy capped at the means of cells and batch, and its gradient."""
from mmwsss.models.losses import CappedCrossEntropy

from .fbr_helpers import check, tensor

FAMILIES = ('capped_ce', )


def test_capped_ce(vector):
    loss = CappedCrossEntropy(int(vector['cell']), float(vector['start']))
    logits = tensor(vector['logits']).requires_grad_()
    label = tensor(vector['label'])  # uint8, none ignored
    each = loss(logits, label, reduction_override='none')
    check(each, vector['per_pixel'])
    value = loss(logits, label)
    check(value, vector['loss'])
    value.backward()
    check(logits.grad, vector['grad_logits'])
