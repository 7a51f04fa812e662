"""Parts of different papers in one model."""
import pytest
import torch
from torch.testing import assert_close

from mmwsss.structures import ViewPair
from tests.test_models.builders import (
    NUM_CLASSES,
    build_segmentor,
    resnet_cfg,
    sample,
)

FLIP = dict(type='mmwsss.HorizontalFlip')
ACR = dict(type='mmwsss.AllPairsConsistency', loss_weight=5.)
SEAM = dict(type='mmwsss.EquivariantRegularization')
SEAM_TERMS = {'seam.loss_er', 'seam.loss_ecr', 'seam.loss_rvmin'}
ACR_TERMS = {'acr.loss_activation', 'acr.loss_affinity'}
CLS_TERMS = {'loss_cls', 'loss_cls_view2'}


def refiner(in_channels, **kwargs):
    return dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(in_channels, ),
        channels=(8, ),
        in_index=(-1, ),
        query_channels=12,
        **kwargs)


def cam_head(in_channels):
    return dict(
        type='mmwsss.CAMHead',
        num_classes=NUM_CLASSES,
        in_channels=in_channels)


def batch(size=(64, 80), seed=0):
    """Two images with tags and one without."""
    torch.manual_seed(seed)
    return torch.randn(3, 3, *size), [
        sample([1, 2]), sample([]), sample([4])
    ]


def terms(losses):
    return {k: v for k, v in losses.items() if 'loss' in k}


def train(model, steps=6, lr=1e-3):
    """Total loss before each of a few steps on one batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    inputs, samples = batch()
    totals = []
    for _ in range(steps):
        total = sum(terms(model.loss(inputs, samples)).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total))
    return totals


def reached(model, loss):
    """Prefixes of parameters that a loss gives a gradient other than zero."""
    grads = torch.autograd.grad(
        loss, list(model.parameters()), retain_graph=True, allow_unused=True)
    return {
        name.split('.')[0]
        for (name, _), grad in zip(model.named_parameters(), grads)
        if grad is not None and grad.any()
    }


def check_seam_gradients(model, losses):
    """The CAMs learn from the classes and ER, the refiner from the
    rest."""
    for name in ('loss_cls', 'loss_cls_view2', 'seam.loss_er'):
        assert reached(model, losses[name]) == {'backbone', 'cls_head'}
    for name in ('seam.loss_ecr', 'seam.loss_rvmin'):
        assert reached(model, losses[name]) == {'refiner'}


VIT_HEADS = pytest.mark.parametrize(
    'parts', [
        dict(),
        dict(cls_head=cam_head(24), localizer=dict(type='mmwsss.CAM')),
        dict(
            cls_head=cam_head(24),
            localizer=dict(type='mmwsss.RefinedCAM'))
    ],
    ids=['class token, GETAM', 'CAM', 'refined CAM'])


@VIT_HEADS
def test_seam_on_a_transformer(parts):
    model = build_segmentor(
        refiner=refiner(24),
        second_view=dict(type='mmwsss.Rescale', scale=0.6, size_divisor=16),
        regularizers=dict(seam=SEAM),
        **parts)
    inputs, samples = batch()
    assert model.second_view.apply(inputs).shape[-2:] == (32, 48)
    losses = model.loss(inputs, samples)
    assert set(terms(losses)) == CLS_TERMS | SEAM_TERMS
    assert all(v.isfinite() for v in losses.values())
    check_seam_gradients(model, losses)
    totals = train(model)
    assert totals[-1] < 0.9 * totals[0]

    model.eval()
    with torch.no_grad():
        out = model.predict(inputs, samples)
    assert [s.cams.shape[0] for s in out] == [2, 0, 1]
    assert all(s.cams.isfinite().all() for s in out)
    assert (out[1].pred_sem_seg.data == 0).all()


@VIT_HEADS
def test_acr_and_seam_in_one_config(parts):
    model = build_segmentor(
        refiner=refiner(24),
        second_view=FLIP,
        regularizers=dict(acr=ACR, seam=SEAM),
        **parts)
    losses = model.loss(*batch())
    assert set(terms(losses)) == CLS_TERMS | ACR_TERMS | SEAM_TERMS
    assert all(v.isfinite() for v in losses.values())
    check_seam_gradients(model, losses)
    for name in ACR_TERMS:
        assert reached(model, losses[name]) == {'backbone'}
    totals = train(model)
    assert totals[-1] < 0.9 * totals[0]


@VIT_HEADS
def test_regularizers_do_not_change_each_other(parts):
    """Each term is the same with and without the other's."""

    def losses(**regularizers):
        model = build_segmentor(
            refiner=refiner(24),
            second_view=FLIP,
            regularizers=regularizers,
            **parts)
        return terms(model.loss(*batch()))

    both = losses(acr=ACR, seam=SEAM)
    for alone in (losses(acr=ACR), losses(seam=SEAM),
                  losses(seam=SEAM, acr=ACR)):
        for name, value in alone.items():
            assert_close(value, both[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('use_image', [False, True])
def test_tokens_in_order_give_what_mirrored_ones_do(use_image):
    """A mirrored view whose tokens were put in the first view's order
    against one in its own frame: same losses, same gradients."""
    model = build_segmentor(
        refiner=refiner(24, use_image=use_image),
        second_view=FLIP,
        regularizers=dict(seam=SEAM),
        cls_head=cam_head(24),
        localizer=dict(type='mmwsss.CAM'))
    inputs, samples = batch()
    labels = model.stack_labels(samples, inputs)
    pair = model.forward_views(inputs, labels, None)
    assert pair.second.aligned
    aligned = model.regularizers.seam(pair)

    apply = model.second_view.apply
    view = model.forward_view(inputs, labels)
    other = model.forward_view(apply(inputs), labels)
    apart = model.regularizers.seam(ViewPair(view, other, transform=apply))
    params = [p for n, p in model.named_parameters() if 'refiner' in n]
    for name, value in aligned.items():
        assert_close(value, apart[name], rtol=1e-4, atol=1e-5)
    for name in ('loss_ecr', 'loss_rvmin'):
        for a, b in zip(
                torch.autograd.grad(aligned[name], params, retain_graph=True),
                torch.autograd.grad(apart[name], params, retain_graph=True)):
            assert_close(a, b, rtol=1e-2, atol=1e-3 * float(b.abs().max()))


@pytest.mark.parametrize('second', [
    dict(type='mmwsss.Rescale'),
    dict(
        type='mmwsss.Compose',
        views=[dict(type='mmwsss.Rescale', scale=0.45), FLIP]),
    FLIP
],
                         ids=['rescale', 'rescale and flip', 'flip'])
def test_seam_on_a_resnet(second):
    """Views of unequal sizes through a convolutional backbone."""
    model = build_segmentor(
        refiner=refiner(128),
        second_view=second,
        regularizers=dict(seam=SEAM),
        **resnet_cfg())
    # The builder's weights are too wild for it to learn from.
    model.init_weights()
    losses = model.loss(*batch((65, 78)))
    assert set(terms(losses)) == CLS_TERMS | SEAM_TERMS
    assert all(v.isfinite() for v in losses.values())
    check_seam_gradients(model, losses)
    totals = train(model)
    assert totals[-1] < 0.9 * totals[0]


def test_batch_without_classes():
    model = build_segmentor(
        refiner=refiner(24),
        second_view=FLIP,
        regularizers=dict(acr=ACR, seam=SEAM),
        cls_head=cam_head(24),
        localizer=dict(type='mmwsss.CAM'))
    inputs, _ = batch()
    losses = model.loss(inputs, [sample([]) for _ in inputs])
    assert float(losses['seam.loss_er']) == float(
        losses['seam.loss_rvmin']) == 0
    assert float(losses['seam.loss_ecr']) > 0
    sum(terms(losses).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.grad is not None)


def test_refined_maps_need_a_refiner():
    parts = dict(second_view=FLIP, regularizers=dict(seam=SEAM))
    with pytest.raises(ValueError, match='refiner=dict'):
        build_segmentor(**parts)
    with pytest.raises(ValueError, match='second_view=dict'):
        build_segmentor(refiner=refiner(24), regularizers=dict(seam=SEAM))
    parts['regularizers'] = dict(
        seam=dict(SEAM, ecr_weight=0, rvmin_weight=0))
    losses = build_segmentor(**parts).loss(*batch())
    assert set(terms(losses)) == CLS_TERMS | {'seam.loss_er'}
