"""ACR's consistency terms and their gradients."""
import torch
from torch.testing import assert_close

from mmwsss.models.regularizers.all_pairs_consistency import consistency_losses

from .acr_helpers import mirror_attention, tensor

FAMILIES = ('acr_losses', )


def test_acr_losses(vector):

    def target(name):
        return tensor(vector['ref_' + name if 'ref_' +
                             name in vector else name])

    n_prefix = int(vector['n_prefix'])
    grid = tuple(int(g) for g in vector['grid'])
    attn1 = tensor(vector['attn1']).requires_grad_()
    attn2 = tensor(vector['attn2']).requires_grad_()
    restored = mirror_attention(attn2, grid, n_prefix)
    p = n_prefix
    assert_close(
        restored[:, :, :1, p:], target('attn2_cls_restored'), rtol=0, atol=0)
    assert_close(
        restored[:, :, p:, p:], target('attn2_aff_restored'), rtol=0, atol=0)

    activation, affinity = consistency_losses(
        attn1.unbind(1), restored.unbind(1), p)
    assert_close(activation, target('cls_align_loss'), rtol=1e-5, atol=1e-6)
    assert_close(affinity, target('aff_align_loss'), rtol=1e-5, atol=1e-6)

    logits = [tensor(vector[f'logits{i}']).requires_grad_() for i in (1, 2)]
    labels = tensor(vector['labels'])
    cls = [
        torch.nn.functional.multilabel_soft_margin_loss(x, labels)
        for x in logits
    ]
    for i in (0, 1):
        assert_close(
            cls[i], tensor(vector[f'cls_loss_{i + 1}']), rtol=1e-5, atol=1e-6)
    total = sum(cls) + float(vector['alpha']) * (activation + affinity)
    assert_close(total, target('total_loss'), rtol=1e-5, atol=1e-6)
    total.backward()
    for x, name in ((attn1, 'grad_attn1'), (attn2, 'grad_attn2'),
                    (logits[0], 'grad_logits1'), (logits[1], 'grad_logits2')):
        assert_close(x.grad, target(name), rtol=1e-5, atol=1e-6)
