"""One complete step of GETAM's second phase: maps, labels, losses, gradients.
"""
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.converters.getam import getam_to_mmwsss_key
from mmwsss.models.converters.timm_vit import timm_to_mmwsss_key

from .acr_helpers import tensor
from .getam_helpers import build_tiny

FAMILIES = ('getam_tiny_stage2', )
LOSS = dict(rtol=1e-4, atol=1e-6)
PREPROCESSOR = dict(
    type='mmseg.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


@pytest.fixture(autouse=True)
def hub():
    """Outside a runner: every step belongs to phase 2."""
    yield MessageHub.get_instance('getam_tiny_stage2')
    MessageHub._instance_dict.pop('getam_tiny_stage2')


def our_name(name: str) -> str:
    """Our name of a parameter of GETAM's network."""
    encoder = 'pretrained.model.'
    if name.startswith(encoder):
        return 'backbone.' + timm_to_mmwsss_key(name[len(encoder):])
    return getam_to_mmwsss_key(name)


def load(vector, **kwargs):
    """Model, inputs and samples of a vector."""
    model = build_tiny(
        vector,
        start_layer=int(vector['start_layer']),
        data_preprocessor=PREPROCESSOR,
        label_refiner=dict(
            type='mmwsss.PAMR',
            **{
                ours: vector[name].tolist()
                for ours, name in (('num_iters', 'num_iter'),
                                   ('dilations', 'dilations'))
                if name in vector
            }),
        # The vector follows the published code.
        label_maker=dict(
            type='mmwsss.LabelCompletion',
            conflict='first',
            **{
                ours: float(vector[name])
                for ours, name in (('cut', 'cut_threshold'),
                                   ('bg_power', 'bg_power'))
                if name in vector
            }),
        **kwargs).eval()
    mean, std = (
        torch.tensor(PREPROCESSOR[name]).view(3, 1, 1) / 255
        for name in ('mean', 'std'))
    image = tensor(vector['ori_image'])
    inputs = (image.float() / 255 - mean) / std
    # The vector's image has not lost levels to truncation.
    assert (image.int() - model.picture(inputs).int()).abs().max() <= 1
    model.picture = lambda inputs: image
    samples = []
    for labels, saliency in zip(
            tensor(vector['labels']), tensor(vector['saliency_in'])):
        sample = SegDataSample(metainfo=dict(img_id='x'))
        sample.gt_label = LabelData(
            label=labels.nonzero()[:, 0], score=labels)
        sample.gt_saliency = PixelData(data=saliency[None])
        samples.append(sample)
    return model, inputs, samples


def test_maps(vector):
    model, inputs, samples = load(vector)
    labels = tensor(vector['labels'])
    n, k = labels.shape
    class_ids = torch.arange(k).repeat(n, 1)
    view = model.forward_view(
        inputs, request=model.localizer.attention_request(model))
    maps = model.localizer(model, view, class_ids)
    maps = model.enlarge(maps, inputs.shape[2:], (1., 1.))
    present = labels[:, :, None, None]
    # They are small: compared on the scale of the vector's own maximum.
    for ours, name in ((maps, 'getam_up'), (model.refine(maps, inputs),
                                            'pamr_out')):
        if name not in vector:
            continue
        theirs = tensor(vector[name])
        top = float(theirs.max()) or 1.  # Without classes all are zero.
        assert_close(
            ours * present / top, theirs * present / top, rtol=1e-3,
            atol=1e-3)


def test_labels(vector):
    model, inputs, samples = load(vector)
    labels, saliency = model.make_labels(inputs, samples)
    agree = labels.numpy() == vector['seg_label']
    assert agree.mean() >= 0.995
    agree = saliency.numpy() == vector['saliency_after']
    assert agree.mean() >= 0.995


@pytest.mark.parametrize('official', [False, True])
def test_losses_and_gradients(vector, official, monkeypatch):
    seg_losses = dict(
        ce=dict(type='mmwsss.BalancedCrossEntropy'),
        saliency=dict(type='mmwsss.SaliencyLoss', official_bug=official),
        energy=dict(type='mmwsss.DenseEnergyLoss'))
    if np.isnan(vector['ce']):
        # Theirs has no such loss where one of its two sets is empty; ours
        # has that of the other set.
        seg_losses.pop('ce')
    model, inputs, samples = load(vector, seg_losses=seg_losses)
    # Of the labels given, because a pixel that differs changes the losses.
    monkeypatch.setattr(
        model, 'make_labels', lambda *args:
        (tensor(vector['seg_label']).long(), tensor(vector['saliency_after'])))
    seen = []
    head = model.decode_head.register_forward_hook(
        lambda module, args, out: seen.append(out))
    losses = model.loss(inputs, samples)
    head.remove()
    kind = 'official' if official else 'ref'
    for ours, name in (('loss_cls', 'cls_loss'), ('ce.loss', 'ce'),
                       ('energy.loss', 'dense'),
                       ('saliency.loss', f'{kind}_sal')):
        if ours in losses and name in vector:
            theirs = tensor(vector[name]).reshape(())
            assert_close(losses[ours], theirs, msg=name, **LOSS)
    for b, logits in enumerate(seen[0]):
        if f'seg_logits_b{b}' in vector:
            assert_close(
                logits,
                tensor(vector[f'seg_logits_b{b}']),
                rtol=1e-4,
                atol=1e-5)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    theirs = tensor(vector[f'{kind}_total']).reshape(())
    if theirs.isfinite():
        assert_close(total, theirs, **LOSS)
    norms = [k for k in vector if k.startswith('ref_gradnorm:')]
    if official or not norms:
        return
    total.backward()
    params = dict(model.named_parameters())
    norms = {
        our_name(k.split(':', 1)[1]): float(vector[k])
        for k in norms
    }
    # A file may name parameters without a gradient or not.
    assert set(norms) <= set(params)
    for name in set(params) - set(norms):
        grad = params[name].grad
        assert grad is None or not grad.any(), name
    for name, theirs in norms.items():
        assert float(params[name].grad.norm()) == pytest.approx(
            theirs, rel=1e-2, abs=1e-6), name
