"""A second class head on an earlier block, and labels of fused maps (ToCo)."""
import logging

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.losses import multilabel_loss
from mmwsss.structures.view_output import AttentionRequest
from tests.test_models.builders import (
    NUM_CLASSES,
    build_segmentor,
    resnet_cfg,
    sample,
    vit_cfg,
)
from tests.test_models.test_segmentors.test_end_to_end_segmentor import (
    MEAN,
    STD,
    TAGS,
    fcn,
    total,
)

init_default_scope('mmseg')
SIZE = (64, 96)
HEAD = dict(
    type='mmwsss.CAMHead', num_classes=NUM_CLASSES, in_channels=24,
    pooling=dict(type='mmwsss.HybridPooling', gamma=0, levels=(1, )))
TEST = dict(
    scales=(1., 0.5), flip=True, flip_fuse='max', normalize='minmax',
    eps=1e-5)


def build(**kwargs):
    """Two heads, labels of fused maps; keyword arguments override parts."""
    cfg = dict(
        type='mmwsss.EndToEndSegmentor',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=MEAN, std=STD, bgr_to_rgb=True),
        backbone=vit_cfg(out_indices=(1, 3)),
        cls_head=HEAD,
        auxiliary_head=dict(HEAD, in_index=0),
        localizer=dict(type='mmwsss.CAM'),
        decode_head=fcn(24),
        label_maker=dict(
            type='mmwsss.RefinedLabels', fg_threshold=0.6, bg_threshold=0.3,
            refiner=dict(
                type='mmwsss.PAMR', kernel='par', num_iters=2,
                dilations=(1, 2))),
        seg_losses=dict(ce=dict(type='mmwsss.BalancedCrossEntropy')),
        train_cfg=dict(fused_labels=True),
        test_cfg=TEST)
    cfg.update(kwargs)
    return build_segmentor(**cfg)


def classifier(**kwargs):
    return build_segmentor(
        **dict(
            dict(
                backbone=vit_cfg(out_indices=(1, 3)),
                cls_head=HEAD,
                auxiliary_head=dict(HEAD, in_index=0),
                localizer=dict(type='mmwsss.CAM'),
                test_cfg=TEST), **kwargs))


def batch(seed=0):
    torch.manual_seed(seed)
    levels = torch.randint(0, 256, (len(TAGS), 3, *SIZE)).float()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    samples = [sample(t, img_id=f'im{i}') for i, t in enumerate(TAGS)]
    return (levels - mean) / std, samples


@pytest.fixture(autouse=True)
def hub():
    hub = MessageHub.get_instance('test_auxiliary_head')
    yield hub
    MessageHub._instance_dict.pop('test_auxiliary_head')


def one_hot():
    labels = torch.zeros(len(TAGS), NUM_CLASSES)
    for row, tags in zip(labels, TAGS):
        row[tags] = 1
    return labels


# --------------------------------------------------------------------- head
def test_it_classifies_an_earlier_block():
    model = classifier()
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    early, late = model.backbone(inputs)
    for name, feats, head in (('loss_aux', early, model.auxiliary_head),
                              ('loss_cls', late, model.cls_head)):
        logits = feats.amax(dim=(2, 3)) @ head.conv.weight[..., 0, 0].t()
        assert_close(losses[name], multilabel_loss(logits, one_hot()))
    view = model.forward_view(inputs)
    weight = model.auxiliary_head.conv.weight
    assert_close(view.auxiliary.cams, F.conv2d(early, weight))
    assert_close(view.cams, F.conv2d(late, model.cls_head.conv.weight))


def test_its_loss_ends_at_its_block():
    model = classifier()
    model.loss(*batch())['loss_aux'].backward()
    for name, value in model.named_parameters():
        reached = name.startswith(
            ('auxiliary_head.', 'backbone.layers.0.', 'backbone.layers.1.'))
        if reached or name.startswith(('backbone.layers.', 'cls_head.')):
            assert (value.grad is not None and bool(value.grad.any())) == (
                reached), name


def test_two_views_are_read_by_both_heads():
    model = classifier(second_view=dict(type='mmwsss.HorizontalFlip'))
    inputs, samples = batch()
    found = model.loss(inputs, samples)['loss_aux']
    alone = classifier().loss(inputs, samples)['loss_aux']
    assert_close(found, alone)  # Of the first view.


def test_look():
    """The class token of other images, of any size."""
    model = classifier()
    crops = torch.randn(5, 3, 32, 16)
    view = model.look(crops)
    expected = model.forward_view(crops, request=AttentionRequest())
    assert_close(view.cls_token, expected.cls_token)
    view.cls_token.sum().backward()
    assert model.backbone.layers[0].attn.qkv.weight.grad.any()


# --------------------------------------------------------------- fused maps
def test_fused_maps_are_those_of_a_prediction():
    model = classifier()
    inputs, samples = batch()
    view = model.forward_view(inputs, one_hot())
    fused = view.fused_cams
    assert fused.class_ids.tolist() == [[1, 3], [-1, -1], [0, -1]]
    assert not fused.cams.requires_grad and not fused.auxiliary.requires_grad
    for head, maps in (('cls_head', fused.cams),
                       ('auxiliary_head', fused.auxiliary)):
        other = classifier()
        other.load_state_dict(model.state_dict())
        other.cls_head = getattr(other, head)
        out = other.eval().predict(inputs, [
            sample(t, SIZE) for t in TAGS
        ])
        for i, tags in enumerate(TAGS):
            assert_close(
                maps[i, :len(tags)], out[i].cams, rtol=1e-4, atol=1e-5)
            assert not maps[i, len(tags):].any()
            assert not tags or out[i].cams.max() > 0.9
    assert (fused.cams - fused.auxiliary).abs().max() > 0.1


def test_fused_maps_in_tiles():
    """A limit on pixels holds for both heads."""
    cfg = dict(
        backbone=vit_cfg(out_indices=(1, 3)),
        test_cfg=dict(TEST, scales=(1., ), max_pixels=384 * 384))
    torch.manual_seed(0)
    inputs, tags = torch.randn(1, 3, 384, 640), one_hot()[:1]
    model, swapped = classifier(**cfg), classifier(**cfg)
    swapped.cls_head, swapped.auxiliary_head = (
        swapped.auxiliary_head, swapped.cls_head)
    assert model.needs_tiles(inputs, 1.)
    one, other = (
        m.forward_view(inputs, tags).fused_cams for m in (model, swapped))
    assert_close(one.auxiliary, other.cams)
    assert_close(one.cams, other.auxiliary)
    assert not torch.equal(one.cams, one.auxiliary)


def test_maps_of_both_heads_have_one_size():
    """Earlier maps of a CNN are larger."""
    parts = resnet_cfg()
    parts['backbone'].update(out_indices=(0, 1))
    model = build_segmentor(
        **parts, auxiliary_head=dict(HEAD, in_index=0, in_channels=64),
        regularizers=dict(patch=dict(type='mmwsss.PatchTokenContrast')),
        test_cfg=dict(TEST, scales=(1., ), flip=False))
    inputs, samples = batch()
    view = model.eval().forward_view(inputs, one_hot())
    early, late = (v.cams.relu() for v in (view.auxiliary, view))
    assert early.shape[-1] == 2 * late.shape[-1]
    for maps, found in ((F.interpolate(
            early, late.shape[2:], mode='bilinear'),
                         view.fused_cams.auxiliary), (
                             late, view.fused_cams.cams)):
        maps = F.interpolate(maps, SIZE, mode='bilinear')
        low, high = (f(maps, dim=(2, 3), keepdim=True)
                     for f in (torch.amin, torch.amax))
        maps = (maps - low) / (high - low + TEST['eps'])
        for i, tags in enumerate(TAGS):
            assert_close(found[i, :len(tags)], maps[i, sorted(tags)])
    losses = model.train().loss(inputs, samples)
    assert losses['patch.loss_patch'] > 0


def test_one_feature_map_is_no_earlier_one():
    model = classifier(backbone=vit_cfg())
    inputs, samples = batch()
    with pytest.raises(ValueError, match='out_indices'):
        model.loss(inputs, samples)
    model = classifier(
        backbone=vit_cfg(), auxiliary_head=dict(HEAD, in_index=-1))
    with pytest.raises(ValueError, match='same feature map as cls_head'):
        model.loss(inputs, samples)


def test_without_classes():
    fused = classifier().forward_view(
        batch()[0], torch.zeros(3, NUM_CLASSES)).fused_cams
    assert fused.cams.shape == fused.auxiliary.shape == (3, 0, *SIZE)
    unknown = torch.full((3, NUM_CLASSES), float('nan'))
    fused = classifier(auxiliary_head=None).forward_view(
        batch()[0], unknown).fused_cams
    assert fused.class_ids.shape == (3, 0) and fused.auxiliary is None


def test_maps_are_made_once_and_only_if_read(monkeypatch):
    model = build(regularizers=dict(
        patch=dict(type='mmwsss.PatchTokenContrast')))
    calls = []
    made = type(model).fused_cams

    def spy(self, view):
        calls.append(view)
        return made(self, view)

    monkeypatch.setattr(type(model), 'fused_cams', spy)
    model.loss(*batch())
    assert len(calls) == 1
    classifier().loss(*batch())
    assert len(calls) == 1


# ------------------------------------------------------------------- labels
def test_labels_are_those_of_a_prediction():
    model = build()
    inputs, samples = batch()
    labels, saliency = model.make_labels(inputs, samples)
    assert saliency is None
    model.eval()
    with torch.no_grad():
        out = model.predict(inputs, [sample(t, SIZE) for t in TAGS])
    for found, tags, one in zip(labels, TAGS, out):
        agree = (found == one.pseudo_sem_seg.data[0]).float().mean()
        assert agree > 0.999
        seen = set(found.unique().tolist())
        assert seen <= {0, 255, *(c + 1 for c in tags)}
        assert not tags or len(seen) > 1
    # The training pass hands its view on; nothing else changes.
    view = model.forward_view(inputs, one_hot())
    again, _ = model.make_labels(inputs, samples, view)
    assert torch.equal(again, labels)


def test_padding_has_no_label():
    inputs, samples = batch()
    mask = torch.ones(1, *SIZE, dtype=torch.uint8)
    mask[..., 40:] = 0
    samples[0].valid_mask = PixelData(data=mask)
    labels, _ = build().make_labels(inputs, samples)
    assert (labels[0, :, 40:] == 255).all()
    assert not (labels[1] == 255).all()


def test_the_auxiliary_head_labels_first(hub):
    model = build(train_cfg=dict(fused_labels=True, auxiliary_until=0.5))
    swapped = build(train_cfg=dict(fused_labels=True))
    swapped.load_state_dict(model.state_dict())
    swapped.cls_head = swapped.auxiliary_head
    inputs, samples = batch()
    main, _ = model.make_labels(inputs, samples)
    auxiliary, _ = swapped.make_labels(inputs, samples)
    assert not torch.equal(main, auxiliary)
    hub.update_info('max_iters', 4)
    for done, expected in ((0, auxiliary), (1, auxiliary), (2, main)):
        hub.update_info('iter', done)
        found, _ = model.make_labels(inputs, samples)
        assert torch.equal(found, expected), done


def test_attention_can_be_fused_too():
    """GETAM's maps over scales, as a prediction makes them."""
    model = build(
        cls_head=dict(
            type='mmwsss.ClassTokenHead', num_classes=NUM_CLASSES,
            in_channels=24),
        auxiliary_head=None,
        localizer=dict(
            type='mmwsss.GETAM', func='cam_grad_s', start_layer=1,
            affinity=False))
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    total(losses).backward()
    labels, _ = model.make_labels(inputs, samples)
    with torch.no_grad():
        out = model.eval().predict(inputs, [sample(t, SIZE) for t in TAGS])
    for found, one in zip(labels, out):
        assert (found == one.pseudo_sem_seg.data[0]).float().mean() > 0.999


@pytest.mark.parametrize('maker, told', [
    (dict(type='mmwsss.RefinedLabels'), 0),
    (dict(type='mmwsss.LabelCompletion'), 1),
])
def test_missing_saliency_is_told_where_it_is_missed(maker, told):
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_instance('test_auxiliary_head')
    logger.addHandler(handler)
    try:
        build(label_maker=maker).loss(*batch())
    finally:
        logger.removeHandler(handler)
    assert sum('come without saliency' in m for m in messages) == told


def test_training_step_with_everything(hub):
    model = build(regularizers=dict(
        patch=dict(type='mmwsss.PatchTokenContrast'),
        crops=dict(
            type='mmwsss.LocalCropContrast', in_channels=24, crop_size=32,
            num_crops=3, projection=dict(
                hidden_channels=8, bottleneck_channels=6, out_channels=10))))
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    assert {'loss_cls', 'loss_aux', 'patch.loss_patch', 'crops.loss_crop',
            'ce.loss'} <= set(losses)
    total(losses).backward()
    for name, value in model.named_parameters():
        assert (value.grad is not None) == (
            not name.startswith('regularizers.crops.teacher.')), name


def test_unknown_classes():
    """A class that nobody knows about trains as an absent one."""
    inputs, samples = batch()
    parts = dict(regularizers=dict(
        patch=dict(type='mmwsss.PatchTokenContrast'),
        crops=dict(
            type='mmwsss.LocalCropContrast', in_channels=24, crop_size=32)))
    plain = build(**parts).loss(inputs, samples)
    for data_sample in samples:
        data_sample.gt_label.score[4] = float('nan')
    losses = build(**parts).loss(inputs, samples)
    for name, value in losses.items():
        assert value.isfinite(), name
        if name not in ('loss_cls', 'loss_aux', 'acc_tags'):
            assert_close(value, plain[name])
        elif 'loss' in name:
            assert value != plain[name]


#: Its CAMs are gradients of the class head, which an auxiliary one lacks.
GETAM = dict(
    cls_head=dict(
        type='mmwsss.ClassTokenHead', num_classes=NUM_CLASSES,
        in_channels=24),
    localizer=dict(type='mmwsss.GETAM', start_layer=1))


@pytest.mark.parametrize('parts, message', [
    (dict(train_cfg=dict(fused_labels=True, auxiliary_until=2.)),
     'auxiliary_until is a share'),
    (dict(train_cfg=dict(auxiliary_until=0.5)), 'fused_labels=True'),
    (dict(auxiliary_head=None,
          train_cfg=dict(fused_labels=True, auxiliary_until=0.5)),
     'and an auxiliary_head'),
    (dict(label_refiner=dict(type='mmwsss.PAMR')), 'RefinedLabels'),
    (dict(auxiliary_head=dict(HEAD, num_classes=2)),
     'auxiliary_head has 2 classes, cls_head 5'),
    (dict(auxiliary_head=None, regularizers=dict(
        it=dict(type='mmwsss.PatchTokenContrast'))),
     'PatchTokenContrast reads CAMs of an earlier block'),
    (dict(GETAM, regularizers=dict(
        it=dict(type='mmwsss.PatchTokenContrast'))),
     "gradients of cls_head.*localizer=dict.type='mmwsss.CAM'"),
    (GETAM, "gradients of cls_head.*localizer=dict.type='mmwsss.CAM'"),
])
def test_refusals(parts, message):
    with pytest.raises(ValueError, match=message):
        build(**parts)


def test_samples_stay_as_they_are():
    """No transform or label of a training is written into the samples."""
    inputs, samples = batch()
    before = [sorted(s.keys()) for s in samples]
    build().loss(inputs, samples)
    assert [sorted(s.keys()) for s in samples] == before
    assert all(isinstance(s, SegDataSample) for s in samples)
