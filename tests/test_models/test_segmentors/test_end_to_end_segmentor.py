"""From tags to masks in one model: phases, labels, gradients, predictions."""
import logging

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.pseudo_labels.label_completion import (
    complete_labels,
    threshold_labels,
)
from mmwsss.pseudo_labels.pamr import PAMR
from mmwsss.registry import MODELS, OPTIM_WRAPPERS
from tests.test_models.builders import (
    NUM_CLASSES,
    build_segmentor,
    dpt_cfg,
    resnet_cfg,
    sample,
    vit_cfg,
)

init_default_scope('mmseg')
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
TAGS = [[1, 3], [], [0]]
SEG_LOSSES = {'ce.loss', 'saliency.loss', 'energy.loss'}


def fcn(channels, **kwargs) -> dict:
    return dict(
        type='FCNHead', in_channels=channels, in_index=-1, channels=8,
        num_convs=1, concat_input=False, dropout_ratio=0.,
        norm_cfg=dict(type='GN', num_groups=2),
        num_classes=NUM_CLASSES + 1, **kwargs)


def build(**kwargs):
    """A small model; keyword arguments override parts."""
    cfg = dict(
        type='mmwsss.EndToEndSegmentor',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=MEAN, std=STD, bgr_to_rgb=True),
        localizer=dict(
            type='mmwsss.GETAM', func='cam_grad_s', start_layer=1,
            affinity=False),
        decode_head=fcn(24),
        label_refiner=dict(type='mmwsss.PAMR', num_iters=3, dilations=(1, 2)),
        label_maker=dict(type='mmwsss.LabelCompletion', opening=3),
        seg_losses=dict(
            ce=dict(type='mmwsss.BalancedCrossEntropy'),
            saliency=dict(type='mmwsss.SaliencyLoss'),
            energy=dict(type='mmwsss.DenseEnergyLoss')))
    cfg.update(kwargs)
    return build_segmentor(**cfg)


PARTS = pytest.mark.parametrize('parts', [
    dict(),
    dict(resnet_cfg(), decode_head=fcn(128)),
    dict(
        dpt_cfg(), decode_head=dict(
            type='mmwsss.DPTDecoderHead', in_channels=(4, 6, 8, 10),
            channels=8, reduction=4, num_classes=NUM_CLASSES + 1)),
    dict(dpt_cfg(), decode_head=fcn(10)),
], ids=['vit', 'resnet', 'dpt', 'dpt-fcn'])


def batch(size=(64, 64), saliency=True, seed=0):
    """Images of whole grey levels and samples with tags and saliency."""
    torch.manual_seed(seed)
    levels = torch.randint(0, 256, (len(TAGS), 3, *size)).float()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    samples = [sample(t, img_id=f'im{i}') for i, t in enumerate(TAGS)]
    if saliency:
        for data_sample in samples:
            data_sample.gt_saliency = PixelData(
                data=torch.randint(0, 2, (1, *size)).byte() * 200)
    return (levels - mean) / std, samples


def total(losses):
    return sum(v for k, v in losses.items() if 'loss' in k)


@pytest.fixture(autouse=True)
def hub():
    """The message hub as it is outside a runner."""
    hub = MessageHub.get_instance('test_end_to_end')
    yield hub
    MessageHub._instance_dict.pop('test_end_to_end')


# ------------------------------------------------------------------- phases
@PARTS
def test_phases(parts, hub):
    model = build(train_cfg=dict(seg_start=0.4), **parts)
    inputs, samples = batch()
    seen = []
    for done in range(5):
        hub.update_info('iter', done)
        hub.update_info('max_iters', 5)
        model.zero_grad()
        losses = model.loss(inputs, samples)
        seen.append(set(losses) >= SEG_LOSSES)
        total(losses).backward()
        trained = [p.grad is not None for p in model.decode_head.parameters()]
        assert all(trained) if seen[-1] else not any(trained)
        assert all(p.grad is not None
                   for p in model.cls_head.parameters())
        if not seen[-1]:
            assert set(losses) == {'loss_cls', 'acc_tags'}
    # Steps 1 and 2 of 5 are 40 percent.
    assert seen == [False, False, True, True, True]
    shares = losses['label_foreground'], losses['label_ignored']
    assert all(0 < share < 100 for share in shares)


def test_outside_a_runner_it_is_phase_2(hub):
    model = build()
    assert model.segments_now()
    hub.update_info('max_iters', 100)
    hub.update_info('iter', 49)
    assert not model.segments_now()
    hub.update_info('iter', 50)
    assert model.segments_now()


def test_phase_1_is_the_classifier(hub):
    """Its losses and gradients are those of a CAMSegmentor."""
    hub.update_info('iter', 0)
    hub.update_info('max_iters', 10)
    model = build()
    plain = build_segmentor()
    plain.load_state_dict(model.state_dict(), strict=False)
    inputs, samples = batch()
    one, other = (m.loss(inputs, samples) for m in (model, plain))
    assert one.keys() == other.keys()
    assert_close(one['loss_cls'], other['loss_cls'], rtol=0, atol=0)
    for losses in (one, other):
        losses['loss_cls'].backward()
    for name, param in plain.named_parameters():
        grad = model.get_parameter(name).grad
        assert (grad is None) == (param.grad is None), name
        if grad is not None:
            assert_close(grad, param.grad, rtol=0, atol=0)


def test_only_what_is_read_is_computed(monkeypatch, hub):
    """The pyramid is made for the decoder alone."""
    model = build(**dpt_cfg(), **dict(decode_head=fcn(10)))
    calls = []
    forward = type(model.neck).forward

    def spy(self, feats, cls_tokens, last_only=False):
        calls.append(last_only)
        return forward(self, feats, cls_tokens, last_only)

    monkeypatch.setattr(type(model.neck), 'forward', spy)
    inputs, samples = batch()
    hub.update_info('max_iters', 2)
    for done, expected in ((0, [True]), (1, [True, False])):
        hub.update_info('iter', done)
        calls.clear()
        model.loss(inputs, samples)
        assert calls == expected


# ------------------------------------------------------------------- labels
def expected_labels(model, image, tags, saliency):
    """Labels of one image by plain steps, gradients included."""
    if tags:
        view = model.forward_view(
            image[None], request=model.localizer.attention_request(model))
        maps = []
        for c in tags:
            grads = torch.autograd.grad(
                view.logits[0, c], view.class_rows, retain_graph=True)
            maps.append(
                sum((a * g).relu().mean(1) * g.relu().mean(1)
                    for a, g in zip(view.class_rows, grads))[0, 0, 1:])
        maps = torch.stack(maps).detach().reshape(1, len(tags), *view.grid)
        maps = F.interpolate(
            maps, image.shape[1:], mode='bilinear', align_corners=True)
    else:
        maps = image.new_zeros(1, 0, *image.shape[1:])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    levels = (image * std + mean).round()
    maps = PAMR(3, (1, 2))(levels[None], maps)[0]
    maps = torch.stack([m / (m.max() + 1e-5) for m in maps]) if tags else maps
    ids = torch.tensor(tags, dtype=torch.int64)
    if saliency is None:
        return threshold_labels(maps, ids, 0.4, 0.1), None
    return complete_labels(maps, ids, saliency, opening=3)


@pytest.mark.parametrize('saliency', [True, False])
def test_labels_are_those_of_each_image_alone(saliency, monkeypatch):
    # Truncation to whole levels is tested in test_image; here it would
    # move levels that rounding errors put just below a whole number.
    monkeypatch.setattr(
        'mmwsss.models.segmentors.end_to_end_segmentor.denormalize',
        lambda image, mean, std: (image * torch.tensor(std).view(3, 1, 1) +
                                  torch.tensor(mean).view(3, 1, 1)).round())
    model = build()
    inputs, samples = batch(saliency=saliency)
    labels, after = model.make_labels(inputs, samples)
    assert labels.dtype == torch.int64 and labels.shape == (3, 64, 64)
    for i, tags in enumerate(TAGS):
        expected, expected_after = expected_labels(
            model, inputs[i], tags,
            samples[i].gt_saliency.data[0] if saliency else None)
        assert (labels[i] == expected).float().mean() > 0.999
        seen = set(labels[i].unique().tolist())
        assert seen <= {0, 255, *(c + 1 for c in tags)}
        # Every class is there, so that the comparison means something.
        assert seen >= {c + 1 for c in tags}
        if saliency:
            assert (after[i] == expected_after).float().mean() > 0.999
    assert saliency or after is None


@pytest.mark.parametrize('saliency', [True, False])
def test_a_batch_without_classes(saliency):
    model = build()
    inputs, samples = batch(saliency=saliency)
    for data_sample in samples:
        data_sample.gt_label = sample([]).gt_label
    labels, _ = model.make_labels(inputs, samples)
    if saliency:
        salient = torch.cat([s.gt_saliency.data > 0 for s in samples])
        assert set(labels.unique().tolist()) <= {0, 255}
        assert (labels[~salient] == 0).all()
    else:
        assert (labels == 0).all()
    losses = model.loss(inputs, samples)
    assert all(v.isfinite() for v in losses.values())
    total(losses).backward()


@PARTS
def test_making_labels_leaves_no_trace(parts):
    model = build(**parts)
    inputs, samples = batch()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.eval()
    labels, after = model.make_labels(inputs, samples)
    assert not labels.requires_grad and not after.requires_grad
    assert all(p.grad is None and p.requires_grad
               for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(m.training for m in model.modules())
    model.train().make_labels(inputs, samples)
    assert all(m.training for m in model.modules())


def test_labels_are_constants():
    """The gradient is that of the losses at the labels as they are."""
    model = build()
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    total(losses).backward()
    found = {k: p.grad.clone() for k, p in model.named_parameters()
             if p.grad is not None}
    model.zero_grad()
    labels, after = model.make_labels(inputs, samples)
    view = model.forward_view(inputs)
    logits = F.interpolate(
        model.decode_head(view.feats), (64, 64), mode='bilinear')
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    foreground = (labels > 0) & (labels < 255)
    saliency_loss = F.binary_cross_entropy(
        logits.softmax(1)[:, 0], (after == 0).float())
    tags = torch.stack([s.gt_label.score for s in samples])
    energy = model.seg_losses.energy(
        logits, labels, image=model.picture(inputs),
        valid=torch.ones(3, 64, 64, dtype=torch.bool))
    loss = (
        F.multilabel_soft_margin_loss(model.cls_head.fc(view.cls_token),
                                      tags) + each[labels == 0].mean() +
        each[foreground].mean() + saliency_loss + energy)
    assert_close(total(losses), loss, rtol=1e-5, atol=1e-5)
    loss.backward()
    for name, param in model.named_parameters():
        assert_close(found.get(name), param.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('head', [False, True], ids=['all', 'no-features'])
def test_a_cnn_runs_once(head, monkeypatch):
    """Its maps come from the training pass; batch norm counts it once."""
    parts = resnet_cfg()
    if head:
        # Maps of this head are made for who reads them, without gradient.
        parts['cls_head'] = dict(
            parts['cls_head'],
            pooling=dict(type='mmwsss.HybridPooling'))
    model = build(**parts, **dict(decode_head=fcn(128)))
    runs = []
    model.backbone.register_forward_hook(lambda *_: runs.append(1))
    inputs, samples = batch()
    total(model.loss(inputs, samples)).backward()
    assert len(runs) == 1
    assert model.cls_head.conv.weight.grad.abs().max() > 0
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(inputs, samples)
    assert all(v.isfinite() for v in losses.values())


# ------------------------------------------------- saliency, padding, types
def test_without_saliency(monkeypatch):
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_instance('saliency-free')
    logger.addHandler(handler)
    model = build()
    inputs, samples = batch(saliency=False)
    samples[0].valid_mask = PixelData(
        data=torch.ones(1, 64, 64, dtype=torch.bool))
    samples[0].valid_mask.data[:, :, 50:] = False
    labels, saliency = model.make_labels(inputs, samples)
    assert saliency is None
    assert (labels[0, :, 50:] == 255).all()
    assert (labels[0, :, :50] != 255).any()
    losses = model.loss(inputs, samples)
    assert SEG_LOSSES - set(losses) == {'saliency.loss'}
    assert sum('without saliency' in m for m in messages) == 1
    MMLogger._instance_dict.pop('saliency-free')


def test_padding_has_no_saliency():
    """As published: what is not salient is background, padding too."""
    model = build()
    inputs, samples = batch()
    for data_sample in samples:
        data_sample.gt_saliency.data[:, :, 50:] = 0
        data_sample.valid_mask = PixelData(
            data=torch.ones(1, 64, 64, dtype=torch.bool))
        data_sample.valid_mask.data[:, :, 50:] = False
    labels, _ = model.make_labels(inputs, samples)
    assert (labels[1, :, 50:] == 0).all()
    assert (labels[..., 50:] != 255).all()


def test_some_have_saliency():
    model = build()
    inputs, samples = batch()
    del samples[1].gt_saliency
    with pytest.raises(KeyError, match='1 of 3 images.*: im1. .*LoadSaliency'):
        model.loss(inputs, samples)
    with pytest.raises(KeyError, match='im1'):
        model.eval().predict(inputs, samples)


def test_no_tags():
    model = build()
    inputs, samples = batch()
    samples[2] = SegDataSample(metainfo=dict(img_id='2007_1'))
    with pytest.raises(KeyError, match='2007_1 has no tags'):
        model.loss(inputs, samples)


def test_losses_get_what_they_need():
    model = build()
    inputs, samples = batch()
    mask = torch.rand(1, 64, 64) > 0.5
    samples[1].valid_mask = PixelData(data=mask)
    calls = []

    class Spy(torch.nn.Module):
        def forward(self, logits, labels, **aids):
            calls.append((logits, labels, aids))

    model.seg_losses = torch.nn.ModuleDict(dict(spy=Spy()))
    losses = model.loss(inputs, samples)
    assert 'spy.loss' not in losses  # It had nothing to say.
    (logits, labels, aids), = calls
    expected, saliency = model.make_labels(inputs, samples)
    assert torch.equal(labels, expected)
    assert torch.equal(aids['saliency'], saliency)
    assert aids['valid'][[0, 2]].all()
    assert torch.equal(aids['valid'][1], mask[0])
    assert logits.shape == (3, NUM_CLASSES + 1, 64, 64)
    assert logits.requires_grad
    share = 100 * ((labels > 0) & (labels < 255)).float().mean()
    assert losses['label_foreground'] == share
    assert losses['label_ignored'] == 100 * (labels == 255).float().mean()


def test_image():
    """Back to grey levels, truncated; off by one at most."""
    model = build()
    inputs, _ = batch()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    levels = (inputs * std + mean).round()
    picture = model.picture(inputs)
    assert picture.dtype == torch.uint8
    difference = levels - picture
    assert set(difference.unique().tolist()) <= {0., 1.}
    # Padding is the mean colour.
    zero = model.picture(torch.zeros(1, 3, 1, 1))
    assert zero.flatten().tolist() == [123, 116, 103]
    plain = build(data_preprocessor=dict(type='SegDataPreProcessor'))
    assert torch.equal(plain.picture(picture.float()), picture)


def test_bfloat16():
    """Labels are made in float32, whatever the training computes in."""
    model = build()
    inputs, samples = batch()
    expected, _ = model.make_labels(inputs, samples)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='mmwsss.BFloat16OptimWrapper',
             optimizer=torch.optim.SGD(model.parameters(), lr=0.1)))
    with wrapper.optim_context(model):
        labels, _ = model.make_labels(inputs, samples)
        losses = model.loss(inputs, samples)
    assert torch.equal(labels, expected)
    assert all(v.isfinite() for v in losses.values())
    exact = model.loss(inputs, samples)
    # The passes do differ, else this test would show nothing.
    assert losses['ce.loss'] != exact['ce.loss']
    assert_close(losses['ce.loss'], exact['ce.loss'], rtol=0.1, atol=0.1)
    wrapper.update_params(total(losses))


@PARTS
@pytest.mark.parametrize('size', [(33, 70), (64, 48)])
def test_any_input_size(parts, size):
    model = build(**parts)
    inputs, samples = batch(size)
    losses = model.loss(inputs, samples)
    assert set(losses) >= SEG_LOSSES
    assert all(v.isfinite() for v in losses.values())
    model.eval()
    with torch.no_grad():
        logits = model.encode_decode(inputs, [])
    assert logits.shape == (3, NUM_CLASSES + 1, *size)


def test_padding_does_not_shift_the_logits():
    model = build().eval()
    inputs, _ = batch((40, 24))
    padded = F.pad(inputs, (0, 8, 0, 8))
    with torch.no_grad():
        logits = model.encode_decode(inputs, [])
        whole = model.encode_decode(padded, [])
    assert_close(logits, whole[..., :40, :24])


# --------------------------------------------------------------- prediction
SIZES = [(50, 70), (64, 64), (33, 21)]


def predict(model, inputs, samples):
    model.eval()
    with torch.no_grad():
        return model.predict(inputs, samples)


@PARTS
def test_predict(parts):
    model = build(**parts)
    inputs, samples = batch()
    for data_sample, size in zip(samples, SIZES):
        data_sample.set_metainfo(dict(ori_shape=size))
    logits = model.eval().encode_decode(inputs, [])
    for i, out in enumerate(predict(model, inputs, samples)):
        size, tags = SIZES[i], TAGS[i]
        assert out.seg_logits.data.shape == (NUM_CLASSES + 1, *size)
        assert_close(
            out.seg_logits.data,
            F.interpolate(logits[i:i + 1], size, mode='bilinear')[0],
            rtol=1e-3, atol=1e-3)
        assert torch.equal(out.pred_sem_seg.data[0],
                           out.seg_logits.data.argmax(0))
        assert out.class_ids.tolist() == tags
        assert out.cams.shape == (len(tags), *size)
        assert ((out.cams >= 0) & (out.cams <= 1)).all()
        pseudo = out.pseudo_sem_seg.data
        assert pseudo.shape == (1, *size) and pseudo.dtype == torch.int64
        assert set(pseudo.unique().tolist()) <= {
            0, 255, *(c + 1 for c in tags)}
        assert out.tag_scores.shape == (NUM_CLASSES, )


@pytest.mark.parametrize('saliency', [True, False])
def test_pseudo_labels_are_those_of_training(saliency):
    model = build().eval()
    inputs, samples = batch(saliency=saliency)
    labels, _ = model.make_labels(inputs, samples)
    for out, expected in zip(predict(model, inputs, samples), labels):
        assert torch.equal(out.pseudo_sem_seg.data[0], expected)


def test_saliency_of_another_size():
    """It is brought to the size of the result, like everything else."""
    model = build()
    inputs, samples = batch()
    for data_sample in samples:
        data_sample.set_metainfo(dict(ori_shape=(32, 32)))
        data_sample.gt_saliency = PixelData(
            data=torch.zeros(1, 16, 16, dtype=torch.uint8))
        data_sample.gt_saliency.data[:, :, 8:] = 255
    out = predict(model, inputs, samples)[1].pseudo_sem_seg.data
    # No classes: unknown where salient. The opening moves it by a pixel.
    assert (out[..., :15] == 0).all() and (out[0, 4:-4, 18:-4] == 255).all()


def test_photographs_of_several_sizes():
    """Saliency loaded after resizing keeps the size of its photograph."""
    model = build()
    inputs, samples = batch()
    sizes = [(48, 64), (64, 40), (20, 30)]
    for data_sample, size in zip(samples, sizes):
        data_sample.set_metainfo(dict(ori_shape=size))
        data_sample.gt_saliency = PixelData(
            data=torch.randint(0, 2, (1, *size), dtype=torch.uint8) * 255)
    together = [
        out.pseudo_sem_seg.data.clone()
        for out in predict(model, inputs, samples)
    ]
    for i, size in enumerate(sizes):
        alone, = predict(model, inputs[i:i + 1], samples[i:i + 1])
        assert together[i].shape == (1, *size)
        assert torch.equal(alone.pseudo_sem_seg.data, together[i])


def test_prediction_without_tags_or_pseudo_labels():
    inputs, samples = batch()
    out = predict(build(test_cfg=dict(pseudo_labels=False)), inputs, samples)
    assert all('pseudo_sem_seg' not in s and 'cams' not in s for s in out)
    out = predict(build(), inputs, None)
    assert len(out) == 3 and all('pseudo_sem_seg' not in s for s in out)
    assert out[0].pred_sem_seg.data.shape == (1, 64, 64)
    # Predicted tags, where asked for.
    out = predict(build(test_cfg=dict(use_image_labels=False)), inputs, None)
    for data_sample in out:
        present = (data_sample.tag_scores > 0.5).nonzero()[:, 0]
        assert torch.equal(data_sample.class_ids, present)
        assert 'pseudo_sem_seg' in data_sample


def test_mirrored_look():
    model = build()
    inputs, _ = batch()
    plain = predict(model, inputs.flip(-1), None)
    looks = [
        sample(t, (64, 64)) for t in TAGS
    ]
    for look in looks:
        look.set_metainfo(dict(flip=True, flip_direction='horizontal'))
    for one, other in zip(predict(model, inputs.flip(-1), looks), plain):
        assert_close(one.seg_logits.data, other.seg_logits.data.flip(-1))
        assert 'pseudo_sem_seg' not in one


def test_test_time_augmentation():
    """Sizes and mirrored looks of one image, logits averaged."""
    model = build(test_cfg=dict(pseudo_labels=False))
    tta = MODELS.build(
        dict(type='mmwsss.SegTTAModel', module=model, average='logits'))
    levels = torch.randint(0, 256, (3, 64, 64)).float()
    looks, batches = [], dict(inputs=[], data_samples=[])
    for size in (64, 32):
        image = F.interpolate(levels[None], size)[0]
        for flip in (False, True):
            look = sample([1], (40, 50))
            look.set_metainfo(
                dict(flip=flip,
                     flip_direction='horizontal' if flip else None))
            looks.append((image, flip))
            batches['inputs'].append([image.flip(-1) if flip else image])
            batches['data_samples'].append([look])
    model.eval()
    with torch.no_grad():
        out, = tta.test_step(batches)
        expected = 0
        for image, flip in looks:
            data = model.data_preprocessor(
                dict(inputs=[image.flip(-1) if flip else image],
                     data_samples=[sample([1])]))
            logits = model.encode_decode(data['inputs'], [])
            logits = logits.flip(-1) if flip else logits
            expected = expected + F.interpolate(
                logits, (40, 50), mode='bilinear')[0] / 4
    assert_close(out.seg_logits.data, expected, rtol=1e-4, atol=1e-4)
    assert out.pred_sem_seg.data.shape == (1, 40, 50)


# ------------------------------------------------------------------ refusal
@pytest.mark.parametrize('parts,error,message', [
    (dict(train_cfg=dict(seg_start=1.5)), ValueError, 'seg_start.*1.5'),
    (dict(train_cfg=dict(start=1)), KeyError, "does not know .'start'"),
    (dict(decode_head=dict(fcn(24), num_classes=5)), ValueError,
     r'num_classes=6'),
    (dict(seg_losses=[dict(type='mmwsss.SaliencyLoss')]), TypeError,
     r'seg_losses must be a dict, not a list.*seg_losses=dict\(ce='),
    (dict(regularizers=dict(ce=dict(type='mmwsss.VisualWordsLearning',
                                    in_channels=24, num_classes=5))),
     ValueError, "both have .'ce'."),
    (dict(test_cfg=dict(x=1)), KeyError, 'EndToEndSegmentor does not know'),
])
def test_refusals(parts, error, message):
    with pytest.raises(error, match=message):
        build(**parts)


def test_second_view_and_regularizers():
    """What a CAMSegmentor can, this can too."""
    model = build(
        backbone=vit_cfg(),
        second_view=dict(type='mmwsss.HorizontalFlip'),
        regularizers=dict(acr=dict(type='mmwsss.AllPairsConsistency')))
    losses = model.loss(*batch())
    assert {'loss_cls_view2', *SEG_LOSSES} <= set(losses)
    assert len(losses) > 7
    total(losses).backward()
