"""Two whole training iterations: losses, gradients, updated weights."""
import torch
from mmengine.optim import PolyLR
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.converters.timm_vit import timm_to_mmwsss_key

from .acr_helpers import build_tiny, tensor

FAMILIES = ('acr_tiny_train_step', )


def our_name(name: str) -> str:
    if name.startswith('cls_head.'):
        return name.replace('cls_head.', 'cls_head.fc.')
    return 'backbone.' + timm_to_mmwsss_key(name)


def test_train_step(vector):
    alpha = float(vector['alpha'])
    scale = alpha or 1.  # A weight of zero leaves nothing to compare.
    model = build_tiny(
        vector,
        second_view=dict(type='mmwsss.HorizontalFlip'),
        regularizers=dict(
            acr=dict(type='mmwsss.AllPairsConsistency',
                     loss_weight=alpha))).train()
    params = dict(model.named_parameters())
    optimizer = torch.optim.SGD(
        params.values(),
        lr=float(vector['lr']),
        momentum=float(vector.get('effective_momentum', 5e-4)),
        weight_decay=float(vector.get('effective_weight_decay', 0)))
    schedule = PolyLR(
        optimizer,
        power=float(vector.get('power', 0.9)),
        end=int(vector['max_step']) + 1,
        by_epoch=False)
    samples = []
    for labels in tensor(vector['labels']):
        sample = SegDataSample()
        sample.gt_label = LabelData(
            label=labels.nonzero()[:, 0], score=labels)
        samples.append(sample)

    steps = sum(k.endswith('_losses') for k in vector)
    assert steps > 0
    for step in range(steps):
        losses = model.loss(tensor(vector['image']), samples)
        ours = torch.stack([
            losses['loss_cls'], losses['loss_cls_view2'],
            losses['acr.loss_activation'] / scale,
            losses['acr.loss_affinity'] / scale,
            sum(v for k, v in losses.items() if 'loss' in k)
        ])
        theirs = tensor(vector[f'it{step}_losses'])
        if not alpha:
            theirs[2:4] = 0
        assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert abs(optimizer.param_groups[0]['lr'] -
                   vector[f'it{step}_lr']) < 1e-12
        optimizer.zero_grad()
        ours[-1].backward()
        norms = [k for k in vector if k.startswith(f'it{step}_gradnorm:')]
        named = {our_name(key.split(':')[1]) for key in norms}
        assert named <= set(params)
        for name in set(params) - named if norms else ():
            grad = params[name].grad
            assert grad is None or not grad.any(), name
        for key in norms:
            grad = params[our_name(key.split(':')[1])].grad
            assert_close(
                grad.norm(), tensor(vector[key]), rtol=1e-3, atol=1e-5)
        for key in [k for k in vector if k.startswith(f'it{step}_grad:')]:
            grad = params[our_name(key.split(':')[1])].grad
            assert_close(grad, tensor(vector[key]), rtol=1e-3, atol=1e-5)
        optimizer.step()
        schedule.step()
    prefix = f'after{steps}_'
    after = [k for k in vector if k.startswith(prefix)]
    assert after
    for key in after:
        ours = params[our_name(key[len(prefix):])]
        assert_close(ours, tensor(vector[key]), rtol=1e-4, atol=1e-5)
