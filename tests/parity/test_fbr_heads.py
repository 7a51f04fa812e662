"""FBR's spaces, its background segmentation and thresholded pooling."""
import torch
import torch.nn.functional as F

from mmwsss.models.heads.pooling import ThresholdedAveragePooling
from mmwsss.models.regularizers.fine_grained_background_contrast import (
    background_target,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair

from .fbr_helpers import check, meta, tensor

FAMILIES = ('fbr_heads_sim_amn', 'fbr_heads_is', 'fbr_heads_segtarget',
            'fbr_heads_tap')


def build(vector, **kwargs):
    """Similarity and segmentation, of weight 1."""
    dims, channels = vector['w_fg'].shape[:2]
    return MODELS.build(
        dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=channels,
            num_classes=vector['label'].shape[1] if 'label' in vector else 1,
            embed_dims=dims,
            bg_weight=0,
            fg_weight=0,
            sim_weight=1,
            **kwargs))


def check_similarity(vector):
    regularizer = build(vector, seg_weight=0)
    regularizer.fg_conv.weight.data = tensor(vector['w_fg'])
    regularizer.bg_conv.weight.data = tensor(vector['w_bg'])
    x = tensor(vector['x']).requires_grad_()
    view = ViewOutput(
        torch.zeros(len(x), 3, 8, 8),
        torch.zeros(len(x), 1),
        fields=dict(feats=(x, )))
    losses = regularizer(ViewPair(view))
    assert list(losses) == ['loss_similarity']
    loss = losses['loss_similarity']
    check(loss, vector['L_sim'])
    loss.backward()
    check(regularizer.fg_conv.weight.grad, vector['grad_w_fg'])
    check(regularizer.bg_conv.weight.grad, vector['grad_w_bg'])
    check(x.grad, vector['grad_x'])


def check_two_heads(vector):
    facts = meta(vector)
    regularizer = build(vector, seg_weight=1,
                        norm_eval=facts['bn'] == 'frozen').train()
    regularizer.seg_dropout.eval()
    regularizer.fg_conv.weight.data = tensor(vector['w_fg'])
    regularizer.bg_conv.weight.data = tensor(vector['w_bg'])
    regularizer.seg_conv.weight.data = tensor(vector['w_seg'])
    w_cls = tensor(vector['w_cls'])
    head = MODELS.build(
        dict(
            type='mmwsss.CAMHead',
            num_classes=len(w_cls) - 1,
            in_channels=w_cls.shape[1],
            with_background=True,
            pooling=dict(
                type='mmwsss.ThresholdedAveragePooling',
                threshold=facts['tap_threshold'])))
    head.conv.weight.data = w_cls
    x = tensor(vector['x']).requires_grad_()
    view = ViewOutput(
        torch.zeros(len(x), 3, 8, 8),
        tensor(vector['label']),
        fields=dict(feats=(x, )),
        providers=dict(
            logits=head, cams=head.cams, pixel_logits=head.pixel_logits))
    check(regularizer.fg_conv(x).relu(), vector['z_fg'])
    z_bg = regularizer.bg_conv(x).relu()
    check(z_bg, vector['z_bg_bank'])
    check(view.logits, vector['pred'][:, :-1])
    check(view.pixel_logits, tensor(vector['cam']).roll(1, dims=1))
    check(background_target(view.cams, view.labels), vector['seg_target'], 0)
    losses = regularizer(ViewPair(view))
    losses['loss_cls'] = head.loss(view)
    expected = dict(
        loss_similarity=('sim', 'fg_conv', 'bg_conv'),
        loss_background_seg=('seg', 'bg_conv', 'seg_conv'),
        loss_cls=('cls', 'conv'))
    assert set(losses) == set(expected)
    for name, (short, *layers) in expected.items():
        check(losses[name], vector[f'L_{short}'])
        owner = head if name == 'loss_cls' else regularizer
        weights = [getattr(owner, layer).weight for layer in layers]
        grads = torch.autograd.grad(
            losses[name], [x, *weights], retain_graph=True)
        check(grads[0], vector[f'grad_{short}_x'])
        for layer, grad in zip(layers, grads[1:]):
            layer = layer.replace('_conv', '').replace('conv', 'cls')
            check(grad, vector[f'grad_{short}_w_{layer}'])


def check_target(vector):
    cams, labels = tensor(vector['cam']), tensor(vector['label'])
    for place, maps in (('first', cams[:, 1:]), ('last', cams[:, :-1])):
        target = background_target(maps, labels)
        check(target, vector[f'target_bg_{place}'], 0)
        logits = tensor(vector['seg_logit']).requires_grad_()
        loss = F.binary_cross_entropy_with_logits(logits[:, 0], target)
        check(loss, vector[f'L_seg_bg_{place}'])
        loss.backward()
        check(logits.grad, vector[f'grad_bg_{place}'])


def check_pooling(vector):
    x = tensor(vector['x']).requires_grad_()
    weight = tensor(vector['w_cls']).requires_grad_()
    pooled = ThresholdedAveragePooling(meta(vector)['threshold'])(x)
    pred = F.conv2d(pooled[..., None, None], weight).flatten(1)
    check(pred, vector['pred'])
    check(F.conv2d(x, weight), vector['cam'])
    (pred * tensor(vector['R'])).sum().backward()
    check(x.grad, vector['grad_x'])
    check(weight.grad, vector['grad_w_cls'])


CHECKS = dict(
    fbr_heads_sim_amn=check_similarity,
    fbr_heads_is=check_two_heads,
    fbr_heads_segtarget=check_target,
    fbr_heads_tap=check_pooling)


def test_fbr_heads(vector):
    family = next(f for f in FAMILIES if vector.name.startswith(f))
    CHECKS[family](vector)
