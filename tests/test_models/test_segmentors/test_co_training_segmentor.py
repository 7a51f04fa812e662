"""CoSA: a slow copy of the network labels both of its branches."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from torch.testing import assert_close

from mmwsss.models.losses.swapped_cam_loss import (
    class_probabilities,
    swapped_cam_loss,
)
from mmwsss.pseudo_labels import refined_labels
from tests.test_models.builders import NUM_CLASSES, sample, vit_cfg
from tests.test_models.test_segmentors.test_auxiliary_head import (
    SIZE,
    TEST,
    batch,
    one_hot,
)
from tests.test_models.test_segmentors.test_auxiliary_head import (
    build as build_single_stage,
)
from tests.test_models.test_segmentors.test_end_to_end_segmentor import (
    TAGS,
    total,
)

IDS = torch.tensor([[1, 3], [-1, -1], [0, -1]])


def build(**kwargs):
    """A student that differs from its teacher; keywords override parts."""
    cfg = dict(
        type='mmwsss.CoTrainingSegmentor',
        momentum=0.75,
        label_maker=dict(
            type='mmwsss.RefinedLabels', fg_threshold=0.6, bg_threshold=0.3),
        seg_losses=dict(ce=dict(type='mmwsss.BalancedCrossEntropy')),
        auxiliary_seg_losses=dict(
            ce_aux=dict(type='mmwsss.BalancedCrossEntropy', loss_weight=3.)),
        cam_loss=dict(
            type='mmwsss.SwappedCAMLoss', temperature=0.5, loss_weight=2.),
        train_cfg=dict(seg_start=0.4))
    cfg.update(kwargs)
    model = build_single_stage(**cfg)
    # As after a first step, with another teacher.
    model.teacher.steps.fill_(1)
    return model


def teacher_of(model):
    """The teacher as it is at the next step."""
    ahead = copy.deepcopy(model)
    ahead.teacher.update_parameters(ahead)
    return ahead.teacher.module


@pytest.fixture(autouse=True)
def hub():
    hub = MessageHub.get_instance('test_co_training')
    yield hub
    MessageHub._instance_dict.pop('test_co_training')


def test_the_teacher_follows(hub):
    """In every step, in both phases, and never with a gradient."""
    model = build()
    hub.update_info('max_iters', 5)
    for done in range(5):
        hub.update_info('iter', done)
        before = {k: v.clone() for k, v in
                  model.teacher.module.state_dict().items()}
        losses = model.loss(*batch())
        assert ('loss_cam' in losses) == (done >= 2)
        total(losses).backward()
        own = dict(model.named_parameters())
        for name, value in model.teacher.module.named_parameters():
            assert_close(value, 0.75 * before[name] + 0.25 * own[name])
            assert value.grad is None and not value.requires_grad
        for name, value in own.items():
            if value.requires_grad:
                value.data += 0.1 * torch.randn_like(value)
    assert int(model.teacher.steps) == 6


def test_it_begins_as_a_copy():
    model = build()
    model.teacher.steps.fill_(0)  # As it is made.
    model.loss(*batch())
    own = dict(model.named_parameters())
    for name, value in model.teacher.module.named_parameters():
        assert torch.equal(value, own[name]), name


def plain_logits(model, inputs):
    """Over scales and mirror images, one look after the other."""
    found = 0
    for scale in (1., 0.5):
        looked = F.interpolate(inputs, scale_factor=scale, mode='bilinear') \
            if scale != 1 else inputs
        for mirror in (False, True):
            image = looked.flip(-1) if mirror else looked
            logits = model.decode_head(model.backbone(image))
            logits = F.interpolate(logits, SIZE, mode='bilinear')
            found = found + (logits.flip(-1) if mirror else logits)
    return found


def test_what_the_teacher_sees():
    model = build()
    inputs, _ = batch()
    fused, logits = model.teach(inputs, IDS)
    teacher = model.teacher.module
    assert_close(logits, plain_logits(teacher, inputs), rtol=1e-4, atol=1e-4)
    out = copy.deepcopy(teacher).eval().predict(
        inputs, [sample(t, SIZE) for t in TAGS])
    for i, tags in enumerate(TAGS):
        assert_close(fused.cams[i, :len(tags)], out[i].cams, rtol=1e-4,
                     atol=1e-5)
    own = model.forward_view(inputs, one_hot()).fused_cams
    assert (own.cams - fused.cams).abs().max() > 0.1
    assert fused.auxiliary.shape == fused.cams.shape
    assert not torch.equal(fused.auxiliary, fused.cams)
    assert not fused.cams.requires_grad and not logits.requires_grad


CLASS_TOKENS = dict(
    backbone=vit_cfg(out_indices=(1, 3), num_class_tokens=NUM_CLASSES),
    cls_head=dict(
        type='mmwsss.MultiClassTokenHead', num_classes=NUM_CLASSES,
        in_channels=24),
    localizer=dict(type='mmwsss.ClassAttentionCAM'))
#: Localizers that read attention, with or without gradients, and their heads.
ATTENTION = dict(
    getam=dict(
        cls_head=dict(
            type='mmwsss.ClassTokenHead', num_classes=NUM_CLASSES,
            in_channels=24),
        localizer=dict(type='mmwsss.GETAM', start_layer=1)),
    mctformer=CLASS_TOKENS,
    weaktr=dict(
        CLASS_TOKENS,
        cls_head=dict(
            type='mmwsss.WeightedAttentionHead', num_classes=NUM_CLASSES,
            in_channels=24,
            head_weights=dict(
                type='mmwsss.AttentionHeadWeights', num_layers=4,
                num_heads=3, reduction=2)),
        localizer=dict(type='mmwsss.WeightedAttentionCAM')))


@pytest.mark.parametrize('name', ATTENTION)
def test_the_teacher_reads_attention(name):
    model = build(
        auxiliary_head=None, auxiliary_seg_losses=None, **ATTENTION[name])
    inputs, samples = batch()
    fused, logits = model.teach(inputs, IDS)
    assert not fused.cams.requires_grad and not logits.requires_grad
    teacher = model.teacher.module
    out = copy.deepcopy(teacher).eval().predict(
        inputs, [sample(t, SIZE) for t in TAGS])
    for i, tags in enumerate(TAGS):
        assert_close(fused.cams[i, :len(tags)], out[i].cams, rtol=1e-4,
                     atol=1e-5)
    assert_close(logits, plain_logits(teacher, inputs), rtol=1e-4, atol=1e-4)
    total(model.loss(inputs, samples)).backward()
    for name, value in model.decode_head.named_parameters():
        assert value.grad.any(), name
    nothing = model.loss(inputs, [sample([]) for _ in TAGS])
    assert all(v.isfinite() for v in nothing.values())


def balanced(logits, labels):
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    kinds = labels == 0, (labels > 0) & (labels < 255)
    return sum((each * k).sum() / k.sum().clamp(min=1) for k in kinds)


def test_losses():
    """CAMs label the decoder, the decoder the CAMs, of the teacher both."""
    model = build()
    inputs, samples = batch()
    mask = torch.ones(1, *SIZE, dtype=torch.uint8)
    mask[..., 80:] = 0
    samples[2].valid_mask = PixelData(data=mask)
    teacher = teacher_of(model)
    fused = teacher.forward_view(inputs, one_hot()).fused_cams
    logits = plain_logits(teacher, inputs)
    losses = model.loss(inputs, samples)
    view = model.forward_view(inputs, one_hot())
    predicted = F.interpolate(
        model.decode_head(view.feats), SIZE, mode='bilinear')
    picture = model.picture(inputs)
    for name, maps, weight in (('ce', fused.cams, 1),
                               ('ce_aux', fused.auxiliary, 3)):
        labels = refined_labels(maps, IDS, picture, None, 0.6, 0.3)
        labels[2, :, 80:] = 255
        assert len(labels.unique()) > 3
        assert_close(losses[f'{name}.loss'],
                     weight * balanced(predicted, labels), rtol=1e-4,
                     atol=1e-5)
        if name == 'ce':
            assert_close(losses['label_ignored'],
                         100 * (labels == 255).float().mean())
    targets = class_probabilities(logits, one_hot(), 0.5)
    assert_close(losses['loss_cam'],
                 2 * swapped_cam_loss(view.cams, targets, one_hot()),
                 rtol=1e-4, atol=1e-5)
    plain = build_single_stage()
    plain.load_state_dict(model.state_dict(), strict=False)
    for name in ('loss_cls', 'loss_aux'):
        assert_close(losses[name], plain.loss(inputs, samples)[name])


def test_everything_learns_but_the_teacher():
    model = build()
    total(model.loss(*batch())).backward()
    for name, value in model.named_parameters():
        assert (value.grad is not None) == (
            not name.startswith('teacher.')), name


def test_resumed(hub):
    """The teacher is in the checkpoint, and so is its step."""

    def train(model, steps):
        optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=1e-3)
        values = []
        for i in steps:
            hub.update_info('iter', i)
            optimizer.zero_grad()
            loss = total(model.loss(*batch(i)))
            loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
        return values

    hub.update_info('max_iters', 4)
    extra = dict(adaptive_thresholds=dict(history=2))
    expected = train(build(**extra), range(4))
    first = build(**extra)
    assert train(first, range(2)) == expected[:2]
    second = build(seed=7, **extra)
    second.load_state_dict(first.state_dict())
    assert train(second, range(2, 4)) == expected[2:]


def test_predictions_of_student_and_teacher():
    model = build().eval()
    inputs, _ = batch()
    samples = [sample(t, SIZE) for t in TAGS]
    with torch.no_grad():
        own = model.predict(inputs, copy.deepcopy(samples))
        model.test_cfg['teacher'] = True
        found = model.predict(inputs, copy.deepcopy(samples))
        teacher = copy.deepcopy(model.teacher.module)
        expected = teacher.predict(inputs, copy.deepcopy(samples))
    for one, other, student in zip(found, expected, own):
        assert_close(one.seg_logits.data, other.seg_logits.data)
        assert_close(one.cams, other.cams)
        assert not torch.equal(one.seg_logits.data, student.seg_logits.data)
    plain = build_single_stage().eval()
    plain.load_state_dict(
        {k: v for k, v in model.state_dict().items()
         if not k.startswith('teacher.')})
    assert_close(own[0].seg_logits.data,
                 plain.predict(inputs, samples)[0].seg_logits.data)


def test_settings_of_a_call_are_those_of_the_teacher():
    """CAMInferencer changes ``test_cfg`` for a call."""
    model = build(test_cfg=dict(TEST, teacher=True)).eval()
    inputs, _ = batch()
    settings = model.test_cfg
    for threshold, count in ((0., NUM_CLASSES), (1., 0)):
        model.test_cfg = dict(
            settings, use_image_labels=False, tag_threshold=threshold)
        with torch.no_grad():
            out = model.predict(inputs)
        assert [len(one.class_ids) for one in out] == [count] * len(TAGS)


def test_adaptive_thresholds():
    model = build(adaptive_thresholds=dict(
        bg_threshold=0.3, fg_threshold=0.6, history=1, keep=0.))
    inputs, samples = batch()
    teacher = teacher_of(model)
    scores = teacher.forward_view(
        inputs, one_hot()).fused_cams.cams.amax(dim=1)
    expected = copy.deepcopy(model.adaptive_thresholds).update(scores)
    losses = model.loss(inputs, samples)
    assert float(losses['bg_threshold']) == pytest.approx(expected[0])
    assert float(losses['fg_threshold']) == pytest.approx(expected[1])
    assert expected != pytest.approx((0.3, 0.6))
    fused = teacher.forward_view(inputs, one_hot()).fused_cams
    labels = refined_labels(fused.cams, IDS, model.picture(inputs), None,
                            expected[1], expected[0])
    assert_close(losses['label_ignored'],
                 100 * (labels == 255).float().mean())


def test_without_auxiliary_head_and_classes():
    model = build(auxiliary_head=None, auxiliary_seg_losses=None)
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    assert 'loss_aux' not in losses and 'ce_aux.loss' not in losses
    nothing = build().loss(inputs, [sample([]) for _ in TAGS])
    assert all(v.isfinite() for v in nothing.values())
    total(nothing).backward()


def test_unknown_classes():
    """They have no loss of a CAM, and no label."""
    inputs, samples = batch()
    plain = build().loss(inputs, samples)
    for data_sample in samples:
        data_sample.gt_label.score[4] = float('nan')
    losses = build().loss(inputs, samples)
    for name, value in losses.items():
        assert value.isfinite(), name
        if name.startswith(('ce', 'label')):
            assert_close(value, plain[name])
    assert losses['loss_cam'] != plain['loss_cam']


@pytest.mark.parametrize('parts, message', [
    (dict(auxiliary_head=None), 'need labels of an auxiliary_head'),
    (dict(auxiliary_seg_losses=dict(
        ce=dict(type='mmwsss.BalancedCrossEntropy'))), "both have .'ce'."),
    (dict(label_refiner=dict(type='mmwsss.PAMR')), 'label_refiner=None'),
    (dict(momentum=0.1), 'momentum of a teacher'),
    (dict(train_cfg=dict(seg_start=0.4, auxiliary_until=0.5)),
     'auxiliary_until has no effect here'),
    (dict(label_maker=dict(type='mmwsss.LabelCompletion'),
          adaptive_thresholds=dict()), 'not of LabelCompletion'),
])
def test_refusals(parts, message):
    with pytest.raises(ValueError, match=message):
        build(**parts)


def test_the_number_of_classes():
    assert build().num_classes == NUM_CLASSES
    assert build().test_cfg['scales'] == TEST['scales']
