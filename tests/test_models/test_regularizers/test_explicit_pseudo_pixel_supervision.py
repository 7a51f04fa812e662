import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from torch.testing import assert_close

from mmwsss.models.regularizers.explicit_pseudo_pixel_supervision import (
    class_overlap,
    pseudo_pixel_loss,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair
from tests.test_models.builders import (
    NUM_CLASSES,
    build_segmentor,
    resnet_cfg,
    sample,
)


def build(**kwargs):
    return MODELS.build(
        dict(type='mmwsss.ExplicitPseudoPixelSupervision', **kwargs))


def plain_loss(logits, saliency, labels, tau, alpha):
    """Image by image, class by class, as the method card states it."""
    total = 0.
    h, w = logits.shape[2:]
    rows = [i * saliency.shape[2] // h for i in range(h)]
    columns = [j * saliency.shape[3] // w for j in range(w)]
    for z, s, y in zip(logits, saliency[:, 0], labels):
        s = s[rows][:, columns]
        p = z.exp() / z.exp().sum(dim=0)
        front, back = torch.zeros(h, w), p[0]
        for c in range(len(y)):
            if y[c]:
                area = (p[c + 1] > 0.5).float()
                overlap = (area * (s > 0.5)).sum() / (area.sum() +
                                                      1e-4 * h * w)
                if overlap > tau:
                    front = front + p[c + 1]
                else:
                    back = back + p[c + 1]
        estimate = alpha * front + (1 - alpha) * (1 - back)
        total = total + ((estimate - s)**2).mean() / len(logits)
    return total


@pytest.mark.parametrize('labels', [
    [[1, 0, 1, 0], [0, 0, 0, 1]],
    [[0, 0, 0, 0]],
    [[1, 1, 1, 1]],
    [[1], [0]],
], ids=['mixed', 'none', 'all', 'one class'])
@pytest.mark.parametrize('size', [(4, 5), (8, 9), (1, 1)])
@pytest.mark.parametrize('kind', ['soft', 'none', 'all'])
def test_formula(labels, size, kind):
    torch.manual_seed(0)
    labels = torch.tensor(labels, dtype=torch.float32)
    saliency = torch.rand(len(labels), 1, 11, 13)
    if kind != 'soft':
        saliency = torch.full_like(saliency, float(kind == 'all'))
    logits = (5 * torch.randn(len(labels), labels.shape[1] + 1, *size))
    logits.requires_grad_()
    for tau, alpha in ((0.4, 0.5), (0.2, 0.3)):
        found = pseudo_pixel_loss(logits, saliency, labels, tau, alpha)
        expected = plain_loss(logits, saliency, labels, tau, alpha)
        assert_close(found, expected)
        assert_close(*(torch.autograd.grad(x, logits, allow_unused=True)[0]
                       for x in (found, expected)))


def test_overlap():
    """Two of three pixels; no area; one pixel in the dark."""
    prob = torch.zeros(1, 3, 2, 2)
    prob[0, 0, 0] = prob[0, 0, 1, 0] = 0.9
    prob[0, 1] = 0.5
    prob[0, 2, 1, 1] = 1
    saliency = torch.tensor([[1., 0.6], [0.5, 0.]])[None, None]
    assert_close(
        class_overlap(prob, saliency),
        torch.tensor([[2 / 3.0004, 0., 0.]]))


def views(maps, labels, image=(12, 16), field='pixel_logits'):
    return [
        ViewOutput(torch.zeros(len(labels), 3, *size), labels, {field: x})
        for x, size in zip(maps, (image, (6, 8)))
    ]


def samples(saliency):
    found = []
    for i, s in enumerate(saliency):
        found.append(sample([], img_id=f'im{i}'))
        found[-1].gt_saliency = PixelData(data=s)
    return found


@pytest.mark.parametrize('field', ['pixel_logits', 'refined_cams'])
def test_both_views(field):
    torch.manual_seed(0)
    labels = torch.tensor([[1., 0.], [1., 1.]])
    maps = [5 * torch.randn(2, 3, *size) for size in ((6, 8), (3, 4))]
    saliency = torch.rand(2, 1, 12, 16)
    refined = field == 'refined_cams'
    regularizer = build(weight=0 if refined else 2,
                        refined_weight=2 * refined)
    assert regularizer.needs_refined_cams == refined
    assert regularizer.needs_pixel_logits != refined
    first, second = views(maps, labels, field=field)

    def shrink(x):
        return F.interpolate(
            x, (6, 8), mode='bilinear', align_corners=True)

    name = 'loss_eps' + '_refined' * refined
    batch = samples(saliency)
    alone = regularizer(ViewPair(first, data_samples=batch))
    expected = [
        pseudo_pixel_loss(maps[0], saliency, labels),
        pseudo_pixel_loss(maps[1], shrink(saliency), labels)
    ]
    assert list(alone) == [name]
    assert_close(alone[name], 2 * expected[0])
    found = regularizer(ViewPair(first, second, batch, shrink))
    assert_close(found[name], sum(expected))


def test_messages():
    maps, labels = torch.zeros(1, 3, 4, 4), torch.ones(1, 2)
    view = views([maps], labels)[0]
    with pytest.raises(KeyError, match='Image im9 comes without a saliency'):
        build()(ViewPair(
            view, data_samples=[sample([], img_id='im9')]))
    with pytest.raises(ValueError, match=r'im0 comes with \(12, 16\) pixels'):
        build()(ViewPair(
            view, data_samples=samples(torch.zeros(1, 1, 9, 9))))
    for wrong in (dict(weight=0), dict(weight=-1, refined_weight=1),
                  dict(foreground_share=1.5)):
        with pytest.raises(ValueError, match='needs'):
            build(**wrong)


def test_in_a_segmentor():
    """On two views, and never on a head without background."""
    parts = resnet_cfg(
        regularizers=dict(
            eps=dict(type='mmwsss.ExplicitPseudoPixelSupervision')))
    with pytest.raises(ValueError, match='with_background=True'):
        build_segmentor(**parts)
    parts['cls_head']['with_background'] = True
    model = build_segmentor(
        **parts, second_view=dict(type='mmwsss.Rescale', scale=0.5))
    batch = [sample([1, 2]), sample([])]
    for s in batch:
        s.gt_saliency = PixelData(data=torch.rand(1, 64, 64))
    losses = model.loss(torch.randn(2, 3, 64, 64), batch)
    assert set(losses) == {
        'loss_cls', 'loss_cls_view2', 'eps.loss_eps', 'acc_tags'
    }
    # The tags alone say nothing about the background.
    weight = model.cls_head.conv.weight
    grads = {
        name: torch.autograd.grad(losses[name], weight, retain_graph=True)[0]
        for name in ('loss_cls', 'eps.loss_eps')
    }
    assert not grads['loss_cls'][NUM_CLASSES].any()
    assert grads['eps.loss_eps'][NUM_CLASSES].any()
    assert grads['loss_cls'][:NUM_CLASSES].any()
