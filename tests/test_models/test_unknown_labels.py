"""Classes that nobody knows about, in every loss that reads labels."""
import math

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from torch.testing import assert_close

from mmwsss.datasets.transforms import PackWSSSInputs
from mmwsss.models.losses import multilabel_loss
from mmwsss.models.regularizers.equivariant_regularization import Present
from mmwsss.models.regularizers.fine_grained_background_contrast import (
    background_target,
    background_weight,
)
from mmwsss.models.utils.pixel_selection import absent_classes
from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput, ViewPair
from tests.test_models.builders import (
    NUM_CLASSES,
    build_segmentor,
    resnet_cfg,
    sample,
)
from tests.test_models.test_segmentors import (
    test_amn,
    test_end_to_end_segmentor,
)

NAN = float('nan')
FLIP = dict(type='mmwsss.HorizontalFlip')
REFINER = dict(
    type='mmwsss.PixelCorrelationModule', in_channels=(128, ), channels=(8, ),
    in_index=(0, ), query_channels=4)


def looped(logits, labels):
    """Mean over the known classes of an image, then over images."""
    total = 0.
    for row, tags in zip(logits.tolist(), labels.tolist()):
        terms = [-math.log(1 / (1 + math.exp(-x if y else x)))
                 for x, y in zip(row, tags) if not math.isnan(y)]
        total += sum(terms) / max(len(terms), 1)
    return total / len(logits)


LABELS = [[1., NAN, 0.], [0., 1., 1.], [NAN, NAN, NAN]]


def test_multilabel_loss_leaves_out_what_is_unknown():
    torch.manual_seed(0)
    logits = torch.randn(3, 3, requires_grad=True)
    labels = torch.tensor(LABELS)
    loss = multilabel_loss(logits, labels)
    assert_close(loss.item(), looped(logits, labels))
    loss.backward()
    assert ((logits.grad == 0) == labels.isnan()).all()
    # Processes with a part of the batch each have the same mean.
    parts = [multilabel_loss(logits[i:i + 1], labels[i:i + 1])
             for i in range(3)]
    assert_close(sum(parts) / 3, loss)


def test_multilabel_loss_is_that_of_torch_where_all_is_known():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 7), (torch.rand(6, 7) > .5).float()
    assert torch.equal(
        multilabel_loss(logits, labels),
        torch.nn.functional.multilabel_soft_margin_loss(logits, labels))


@pytest.mark.parametrize('head', [
    dict(type='mmwsss.ClassTokenHead'),
    dict(type='mmwsss.CAMHead'),
    dict(type='mmwsss.CAMHead', with_background=True),
])
def test_class_heads(head):
    head = MODELS.build(
        dict(head, num_classes=3, in_channels=4, loss_weight=2.))
    logits, labels = torch.randn(3, 3), torch.tensor(LABELS)
    view = ViewOutput(torch.zeros(1), labels, fields=dict(logits=logits))
    assert_close(float(head.loss(view)), 2 * looped(logits, labels))


def test_histogram_of_visual_words():
    vwl = MODELS.build(dict(type='mmwsss.VisualWordsLearning', in_channels=4,
                            num_classes=3, num_words=6, word_weight=0.))
    feats = torch.rand(3, 4, 5, 6)
    labels = torch.tensor([[1., NAN, 0.], [0., NAN, 1.], [NAN, NAN, NAN]])
    view = ViewOutput(torch.zeros(3, 3, 8, 8), labels,
                      fields=dict(feats=(feats, )))
    names = [sample([], img_id=i) for i in 'abc']
    vwl(ViewPair(view, data_samples=names))['loss_histogram'].backward()
    grad = vwl.histogram_head.weight.grad
    assert not grad[1].any() and grad[0].any() and grad[2].any()


def test_unknown_classes_are_not_among_the_present_ones():
    labels = torch.tensor([[NAN, 1., 0.], [0., NAN, 0.]])
    assert absent_classes(labels)[..., 0, 0].tolist() == [
        [False, True, False, True], [False, True, True, True]]
    present = Present.of(labels)
    assert present.ids[0].tolist() == [1]
    assert present.mask[..., 0, 0].tolist() == [[1.], [0.]]


def test_unknown_classes_may_be_where_the_background_seems_to_be():
    cams = torch.zeros(1, 2, 1, 4)
    cams[0, 0, 0, :2], cams[0, 1, 0, 1:3] = 1, 1
    labels = torch.tensor([[1., NAN]])
    target = background_target(cams, labels)
    assert target.tolist() == [[[0, 0, 1, 1]]]
    # The third place looks like the unknown class: it says nothing.
    again, weight = background_weight(cams, labels)
    assert torch.equal(again, target)
    assert weight.tolist() == [[[1, 1, 0, 1]]]
    assert background_weight(cams, torch.tensor([[1., 0.]]))[1].all()


def contrast(**kwargs):
    return dict(
        fbr=dict(type='mmwsss.FineGrainedBackgroundContrast',
                 in_channels=128, num_classes=NUM_CLASSES, embed_dims=8,
                 num_negatives=4, bank_size=20, **kwargs))


PARTS = dict(
    plain=dict(second_view=FLIP, **resnet_cfg()),
    acr=dict(second_view=FLIP,
             regularizers=dict(acr=dict(type='mmwsss.AllPairsConsistency'))),
    seam=dict(second_view=FLIP, refiner=REFINER, regularizers=dict(
        seam=dict(type='mmwsss.EquivariantRegularization')), **resnet_cfg()),
    ppc=dict(second_view=FLIP, refiner=REFINER, regularizers=dict(
        ppc=dict(type='mmwsss.PixelPrototypeContrast', in_channels=128,
             num_classes=NUM_CLASSES)), **resnet_cfg()),
    vwl=dict(regularizers=dict(
        vwl=dict(type='mmwsss.VisualWordsLearning', in_channels=128,
             num_classes=NUM_CLASSES, num_words=8)), **resnet_cfg()),
    fbr=dict(regularizers=contrast(), **resnet_cfg()),
    eps=dict(regularizers=dict(
        eps=dict(type='mmwsss.ExplicitPseudoPixelSupervision')),
             **resnet_cfg()))
for _name in ('fbr', 'eps'):
    PARTS[_name]['cls_head']['with_background'] = True


def doubtful(unknown):
    """Samples whose class 3 is unknown, or shown by none."""
    samples = [sample([1, 2], img_id='a'), sample([], img_id='b')]
    for s in samples:
        if unknown:
            s.gt_label.score[3] = NAN
        s.gt_saliency = PixelData(data=torch.ones(1, 64, 64))
        s.gt_saliency.data[..., :20] = 0
    return samples


@pytest.mark.parametrize('name', PARTS)
def test_every_method_trains(name):
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 64, 64)
    losses = {}
    for unknown in (True, False):
        model = build_segmentor(**PARTS[name])
        torch.manual_seed(1)
        losses[unknown] = model.loss(inputs, doubtful(unknown))
        total = sum(v for k, v in losses[unknown].items() if 'loss' in k)
        total.backward()
        assert all(p.grad is None or p.grad.isfinite().all()
                   for p in model.parameters())
    assert losses[True].keys() == losses[False].keys()
    tags = {'loss_cls', 'loss_cls_view2', 'vwl.loss_histogram', 'acc_tags'}
    # FBR leaves out where the unknown class seems to be.
    tags.add('fbr.loss_background_seg')
    for key, value in losses[True].items():
        assert value.isfinite().all(), key
        if key not in tags:
            assert_close(value, losses[False][key], msg=key)
        elif 'loss' in key:
            assert value != losses[False][key], key


def test_accuracy_is_that_of_known_classes():
    model = build_segmentor(**resnet_cfg())
    samples = doubtful(True)
    inputs = torch.randn(2, 3, 64, 64)
    model.eval()
    logits = model(inputs)
    accuracy = model.loss(inputs, samples)['acc_tags']
    right = [(logits[i, c] > 0) == (s.gt_label.score[c] > 0.5)
             for i, s in enumerate(samples) for c in (0, 1, 2, 4)]
    assert_close(float(accuracy), 100 * sum(map(float, right)) / 8)


def test_amn_is_told_nothing_about_unknown_classes():
    found = []
    for unknown in (True, False):
        model = test_amn.build()
        inputs, samples = test_amn.batch()
        if unknown:
            samples[0].gt_label.score[4] = NAN
        found.append(model.loss(inputs, samples)['loss_seed'])
    assert found[0].isfinite() and torch.equal(*found)


def test_end_to_end_training():
    model = test_end_to_end_segmentor.build(train_cfg=dict(seg_start=0.))
    inputs, samples = test_end_to_end_segmentor.batch()
    samples[0].gt_label.score[4] = NAN
    losses = model.loss(inputs, samples)
    assert all(v.isfinite().all() for v in losses.values()), losses


def test_packing():
    image = np.zeros((2, 3, 3), np.uint8)
    packed = PackWSSSInputs()(dict(
        img=image, gt_label=[1], unknown_label=[0, 3], num_classes=4))
    label = packed['data_samples'].gt_label
    assert label.label.tolist() == [1]
    assert label.score.isnan().tolist() == [True, False, False, True]
    assert label.score[1:3].tolist() == [1, 0]
