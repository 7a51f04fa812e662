"""EPS: classes and background against a saliency map."""
import torch.nn.functional as F

from mmwsss.models.regularizers.explicit_pseudo_pixel_supervision import (
    class_overlap,
    pseudo_pixel_loss,
    saliency_parts,
)

from .acr_helpers import tensor
from .base_helpers import check, classes, meta

FAMILIES = ('eps', )


def test_eps(vector):
    settings = meta(vector)
    last = vector['cam'].shape[1] - 1  # The background.
    logits = tensor(classes(vector['cam'], last)).requires_grad_()
    labels, saliency = tensor(vector['label']), tensor(vector['saliency'])
    prob = logits.softmax(dim=1)
    small = F.interpolate(saliency, size=logits.shape[2:], mode='nearest')
    check(small, vector['saliency_down'])
    overlaps = class_overlap(prob[:, 1:], small)
    check(overlaps * labels, vector['overlap'] * vector['label'])
    salient, rest = saliency_parts(prob, labels, overlaps > settings['tau'])
    check(salient, vector['fg_map'])
    check(rest, vector['bg_map'])
    alpha = settings['alpha']
    check(alpha * salient + (1 - alpha) * rest, vector['sal_pred'])
    valid = (overlaps > settings['tau']) & (labels > 0)
    assert (valid.numpy() == vector['valid_channel'] *
            (vector['label'] > 0)).all()
    loss = pseudo_pixel_loss(logits, saliency, labels, settings['tau'], alpha)
    check(loss, vector['loss'])
    loss.backward()
    check(logits.grad, classes(vector['grad_cam'], last))
