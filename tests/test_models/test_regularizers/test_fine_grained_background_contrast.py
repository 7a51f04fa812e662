import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from mmwsss.models.regularizers.fine_grained_background_contrast import (
    background_target,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair

from ..builders import (
    HALF_DTYPES,
    NUM_CLASSES,
    build_segmentor,
    resnet_cfg,
    sample,
)

CHANNELS, DIMS, NEGATIVES = 10, 6, 16
TERMS = ('loss_bg_contrast', 'loss_fg_contrast', 'loss_similarity',
         'loss_background_seg')
LOGGED = ('contrast_queries', 'contrast_bank')


def build(seed=0, **kwargs):
    torch.manual_seed(seed)
    cfg = dict(
        type='mmwsss.FineGrainedBackgroundContrast',
        in_channels=CHANNELS,
        num_classes=NUM_CLASSES,
        embed_dims=DIMS,
        num_negatives=NEGATIVES,
        bank_size=50)
    return MODELS.build({**cfg, **kwargs})


def tags(n):
    """The last image has no class at all."""
    labels = torch.zeros(n, NUM_CLASSES)
    for i in range(n - 1):
        labels[i, [i % NUM_CLASSES, 2]] = 1
    return labels


def batch_of(n=3, size=(7, 8), seed=0):
    """Features, pixel logits and tags."""
    torch.manual_seed(seed)
    return (torch.randn(n, CHANNELS, *size),
            2 * torch.randn(n, NUM_CLASSES + 1, *size), tags(n))


def view_of(feats, logits, labels):
    return ViewOutput(
        torch.zeros(len(feats), 3, 8, 8),
        labels,
        fields=dict(
            feats=(feats, ),
            pixel_logits=logits,
            cams=logits[:, 1:],
            refined_cams=logits))


def step(regularizer, feats, logits, labels, names='abcdefgh', other=None):
    """The terms of a batch whose images are called a, b, ..."""
    samples = [sample([], img_id=name) for name, _ in zip(names, feats)]
    return regularizer(
        ViewPair(
            view_of(feats, logits, labels), other and view_of(*other),
            samples))


def total(losses):
    return sum(v for k, v in losses.items() if k.startswith('loss'))


# --------------------------------------------------------------- the terms
def toy(logits, **kwargs):
    """Spaces are channels of the features: constant in each class."""
    h, w = logits.shape[2:]
    fg = torch.tensor([[1., 0, 0], [1, 2, 0], [0, 1, 3]])  # bg, class 0, 1
    feats = torch.zeros(1, 6, h, w)
    feats[0, :3] = fg[logits[0].argmax(dim=0)].movedim(2, 0)
    feats[0, 3:] = torch.tensor([2., 0, 1])[:, None, None]
    regularizer = build(
        in_channels=6, num_classes=2, embed_dims=3, sim_weight=0,
        seg_weight=0, bg_weight=1, fg_weight=1, entropy_quantile=0.01,
        **kwargs)
    eye = torch.eye(6)[..., None, None]
    regularizer.fg_conv.weight.data = eye[:3]
    regularizer.bg_conv.weight.data = eye[3:]
    return regularizer, feats, fg


def striped_logits(classes):
    """Rows of background and classes; one of each is more than sure."""
    torch.manual_seed(0)
    logits = torch.zeros(1, 3, 12, 10)
    for row in range(12):
        logits[0, classes[row % len(classes)], row] = \
            4 + 0.3 * torch.rand(10)
    return logits


@pytest.mark.parametrize('temperature', [0.5, 0.2])
def test_two_classes_in_closed_form(temperature):
    logits = striped_logits((0, 1, 2))
    regularizer, feats, fg = toy(logits, temperature=temperature)
    losses = step(regularizer, feats, logits, torch.ones(1, 2))

    def nce(cosine):
        a, b = (math.exp(c / temperature) for c in (1, cosine))
        return -math.log(a / (a + NEGATIVES * b))

    assert losses['contrast_queries'] > 2
    assert float(losses['loss_fg_contrast']) == pytest.approx(
        nce(2 / math.sqrt(5 * 10)), rel=1e-5)
    region = torch.tensor([2., 0, 1])
    cosines = [float(torch.cosine_similarity(f, region, dim=0))
               for f in fg[1:]]
    assert float(losses['loss_bg_contrast']) == pytest.approx(
        sum(map(nce, cosines)) / 2, rel=1e-5)
    # 40 background pixels: eight centroids, all the same.
    assert losses['contrast_bank'] == 8
    assert_close(regularizer.banks[0].ordered(), region.expand(8, 3))


def test_one_class_has_no_other_to_contrast_with():
    logits = striped_logits((0, 1))
    regularizer, feats, fg = toy(logits)
    x = feats.requires_grad_()
    losses = step(regularizer, x, logits, torch.tensor([[1., 0]]))
    cosine = float(torch.cosine_similarity(
        fg[1], torch.tensor([2., 0, 1]), dim=0))
    a, b = math.exp(2), math.exp(2 * cosine)
    assert float(losses['loss_bg_contrast']) == pytest.approx(
        -math.log(a / (a + NEGATIVES * b)), rel=1e-5)
    assert losses['loss_fg_contrast'] == 0
    losses['loss_fg_contrast'].backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize('kind', ['no class', 'no hard pixel', 'no region'])
def test_nothing_to_contrast(kind):
    feats, logits, labels = batch_of()
    kwargs = {}
    if kind == 'no class':
        labels = torch.zeros_like(labels)
    elif kind == 'no hard pixel':
        kwargs = dict(entropy_quantile=1)
    else:
        labels = torch.ones_like(labels)
        logits[:, 0] = -20
        logits[:, 0, 0, 0] = -19  # its maximum, where class 1 is at its own
        logits[:, 1, 0, 0] = 9
    regularizer = build(**kwargs)
    x = feats.requires_grad_()
    losses = step(regularizer, x, logits, labels)
    assert (losses['contrast_queries'] > 0) == (kind == 'no region')
    if kind == 'no region':
        y, _, _ = regularizer.label_positions(logits, labels)
        assert (y > 0).all() and losses['contrast_bank'] == 0
        assert losses['loss_fg_contrast'] > 0
    else:
        assert losses['contrast_bank'] > 0
        assert losses['loss_fg_contrast'] == 0
    assert losses['loss_bg_contrast'] == 0
    total(losses).backward()
    assert all(p.grad is not None and p.grad.isfinite().all()
               for p in regularizer.parameters() if p.requires_grad)
    assert x.grad.isfinite().all()


def test_background_target():
    cams = torch.tensor([[[1., .04, -1], [0, .02, 0]],
                         [[-1, -2, -3], [5, .2, .3]]])[:, :, None]
    labels = torch.tensor([[1., 1], [0, 0]])
    found = background_target(cams, labels)
    # .02 is the maximum of its map: shown. Without classes all is background.
    assert found.tolist() == [[[0, 0, 1]], [[1, 1, 1]]]
    labels[1] = torch.tensor([1., 0])  # but without any positive value
    assert background_target(cams, labels)[1].tolist() == [[1, 1, 1]]
    labels[1] = torch.tensor([0., 1])
    assert background_target(cams, labels)[1].tolist() == [[0, 1, 0]]


def test_similarity_and_segmentation():
    regularizer = build(bg_weight=0, fg_weight=0, sim_weight=3., seg_weight=7.)
    regularizer.seg_dropout.eval()
    feats, logits, labels = batch_of()
    losses = step(regularizer, feats, logits, labels)
    assert set(losses) == set(TERMS[2:])
    rows = feats.movedim(1, -1).flatten(0, 2)
    raw_fg, raw_bg = (rows @ conv.weight.flatten(1).T
                      for conv in (regularizer.fg_conv, regularizer.bg_conv))
    # The BN starts as, and stays, nearly the identity.
    seen = (raw_bg / math.sqrt(1 + 1e-5) + 1e-4).relu()
    cosines = torch.cosine_similarity(raw_fg.relu(), seen, dim=1)
    assert_close(losses['loss_similarity'], 3 * cosines.mean())
    p = (seen @ regularizer.seg_conv.weight.flatten()).sigmoid()
    y = background_target(logits[:, 1:], labels).flatten()
    assert 0 < y.mean() < 1
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert_close(losses['loss_background_seg'], 7 * expected)
    # Without segmentation it is compared with the plain space.
    plain = build(bg_weight=0, fg_weight=0, sim_weight=3., seg_weight=0)
    plain.load_state_dict(regularizer.state_dict(), strict=False)
    cosines = torch.cosine_similarity(raw_fg.relu(), raw_bg.relu(), dim=1)
    assert_close(
        step(plain, feats, logits, labels)['loss_similarity'],
        3 * cosines.mean())


def test_who_gets_gradients_from_what():
    regularizer = build()
    feats, logits, labels = batch_of()
    x, maps = feats.requires_grad_(), logits.requires_grad_()
    losses = step(regularizer, x, maps, labels)
    assert set(losses) == {*TERMS, *LOGGED}
    wanted = dict(
        features=x, maps=maps, fg=regularizer.fg_conv.weight,
        bg=regularizer.bg_conv.weight, seg=regularizer.seg_conv.weight)
    expected = dict(
        loss_bg_contrast={'features', 'fg'},
        loss_fg_contrast={'features', 'fg'},
        loss_similarity={'features', 'fg', 'bg'},
        loss_background_seg={'features', 'bg', 'seg'})
    for name, receivers in expected.items():
        grads = torch.autograd.grad(
            losses[name], list(wanted.values()), allow_unused=True,
            retain_graph=True)
        assert {n for n, g in zip(wanted, grads)
                if g is not None and g.abs().max() > 0} == receivers, name
    assert not any(losses[name].requires_grad for name in LOGGED)


def test_weights():
    batch = batch_of()
    once = step(build(bg_weight=1, fg_weight=1), *batch)
    twice = step(build(bg_weight=2, fg_weight=3), *batch)
    assert_close(twice['loss_bg_contrast'], 2 * once['loss_bg_contrast'])
    assert_close(twice['loss_fg_contrast'], 3 * once['loss_fg_contrast'])


@pytest.mark.parametrize('zero, parameters', [
    (('bg_weight', ), {'fg_conv', 'bg_conv', 'seg_conv'}),
    (('fg_weight', ), {'fg_conv', 'bg_conv', 'seg_conv'}),
    (('seg_weight', ), {'fg_conv', 'bg_conv'}),
    (('seg_weight', 'sim_weight'), {'fg_conv'}),
    (('bg_weight', 'fg_weight', 'sim_weight'), {'bg_conv', 'seg_conv'}),
    (('bg_weight', 'sim_weight', 'seg_weight'), {'fg_conv'})])
def test_terms_of_weight_zero_own_nothing(zero, parameters):
    regularizer = build(**dict.fromkeys(zero, 0))
    names = dict(bg_weight='bg_contrast', fg_weight='fg_contrast',
                 sim_weight='similarity', seg_weight='background_seg')
    losses = step(regularizer, *batch_of())
    assert {k for k in losses if k.startswith('loss')} == {
        f'loss_{v}' for k, v in names.items() if k not in zero}
    trained = {n.split('.')[0] for n, p in regularizer.named_parameters()
               if p.requires_grad}
    assert trained == parameters
    total(losses).backward()
    assert all(p.grad is not None for p in regularizer.parameters()
               if p.requires_grad)
    assert len(regularizer.banks) == ('bg_weight' not in zero)


# ------------------------------------------------------------ where it looks
@pytest.mark.parametrize('scores', ['refined_cams', 'cams'])
def test_class_maps_instead_of_logits(scores):
    feats, logits, labels = batch_of()
    regularizer = build(scores=scores, unsure_ratio=0.6, entropy_quantile=0.1)
    assert regularizer.needs_refined_cams == (scores == 'refined_cams')
    assert not regularizer.needs_pixel_logits
    losses = step(regularizer, feats, logits, labels)
    assert losses['contrast_queries'] > 0
    # Whatever the refiner says about the background.
    logits[:, 0] = torch.randn_like(logits[:, 0])
    again = build(scores=scores, unsure_ratio=0.6, entropy_quantile=0.1)
    for name, value in step(again, feats, logits, labels).items():
        assert torch.equal(value, losses[name]), name


def test_grid():
    feats, logits, labels = batch_of(size=(9, 11))
    kwargs = dict(sim_weight=0, seg_weight=0, top_share=1 / 8)
    gridded = build(grid=(5, 6), **kwargs)
    x = feats.clone().requires_grad_()
    losses = step(gridded, x, logits, labels)
    plain = build(**kwargs)

    def small(maps):
        return F.interpolate(
            maps, size=(5, 6), mode='bilinear', align_corners=True)

    z_fg, z_bg = (small(conv(feats).relu())
                  for conv in (plain.fg_conv, plain.bg_conv))
    eye = torch.eye(2 * DIMS)[..., None, None]
    other = build(in_channels=2 * DIMS, **kwargs)
    other.fg_conv.weight.data = eye[:DIMS]
    other.bg_conv.weight.data = eye[DIMS:]
    expected = step(other, torch.cat((z_fg, z_bg), dim=1), small(logits),
                    labels)
    for name, value in expected.items():
        assert_close(losses[name], value)
    total(losses).backward()
    assert x.grad.abs().max() > 0


def test_both_views_have_a_bank_each():
    regularizer = build(both_views=True, seg_weight=0, grid=(5, 5))
    assert regularizer.needs_second_view
    first, second = batch_of(), batch_of(size=(5, 5), seed=1)
    losses = step(regularizer, *first, other=second)
    banks = [bank.ordered() for bank in regularizer.banks]
    assert len(banks) == 2
    alone = [build(seg_weight=0, grid=(5, 5)) for _ in range(2)]
    parts = [step(r, *b) for r, b in zip(alone, (first, second))]
    for name in ('loss_similarity', 'contrast_queries', 'contrast_bank'):
        assert_close(losses[name], (parts[0][name] + parts[1][name]) / 2)
    # The first draws are those of the first view alone.
    assert torch.equal(banks[0], alone[0].banks[0].ordered())
    assert not torch.equal(banks[0], banks[1][:len(banks[0])])
    assert losses['loss_bg_contrast'] > 0


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_a_view_of_one_class_has_no_other(order):
    views = [striped_logits(classes) for classes in ((0, 1, 2), (0, 1))]
    for logits, absent in zip(views, (0, 2)):
        logits[:, absent] -= 9  # The background is constant here.
    regularizer, feats, fg = toy(views[0], both_views=True, scores='cams')
    # Features as in toy().
    parts = []
    for logits in views:
        x = feats.clone()
        owner = logits[0, 1:].amax(dim=0) < 2
        plane = torch.where(owner, 0, logits[0, 1:].argmax(dim=0) + 1)
        x[0, :3] = fg[plane].movedim(2, 0)
        parts.append((x, logits, torch.ones(1, 2)))
    first, second = (parts[i] for i in order)
    losses = step(regularizer, *first, other=second)
    cosine = 2 / math.sqrt(5 * 10)
    a, b = math.exp(2), math.exp(2 * cosine)
    # Half of what the view with two classes gives.
    assert float(losses['loss_fg_contrast']) == pytest.approx(
        -math.log(a / (a + NEGATIVES * b)) / 2, rel=1e-5)
    assert losses['loss_bg_contrast'] > 0


def test_bank_fills_in_the_order_of_ids_and_regions():
    regularizer = build(num_clusters=3, bank_size=1000)
    feats, logits, labels = batch_of()
    z_bg = regularizer.bg_conv(feats).relu()
    y, _, _ = regularizer.label_positions(logits, labels)
    # Nearly without background, so that its pixels are the regions.
    logits[0, 0], logits[0, 1] = -9, 9
    labels[0] = torch.tensor([1., 0, 0, 0, 0])
    for place in ((0, 3), (2, 1)):
        logits[(0, 0, *place)], logits[(0, 1, *place)] = 9, -9
    y, _, _ = regularizer.label_positions(logits, labels)
    assert (y[0] == 0).sum() == 2
    step(regularizer, feats, logits, labels, names='bac')
    found = regularizer.banks[0].ordered()
    assert len(found) == 3 + 2 + 3
    assert_close(found[3:5],
                 torch.stack([z_bg[0, :, 0, 3], z_bg[0, :, 2, 1]]))


def test_at_most_so_many_queries():
    batch = batch_of(size=(12, 12))
    every = step(build(max_queries=None), *batch)
    some = step(build(max_queries=2), *batch)
    y, _, hard = build().label_positions(*batch[1:])
    assert every['contrast_queries'] == (hard & (y > 0)).sum()
    counts = torch.bincount(y[hard & (y > 0)])
    assert some['contrast_queries'] == counts.clamp(max=2).sum()
    assert some['contrast_queries'] < every['contrast_queries']
    assert_close(some['loss_bg_contrast'], every['loss_bg_contrast'],
                 rtol=0.2, atol=0)


# -------------------------------------------------------------------- state
def test_random_numbers_of_the_run_are_left_alone():
    regularizer, batch = build(seg_weight=0), batch_of()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    step(regularizer, *batch)
    assert torch.equal(torch.rand(3), expected)


def test_draws_differ_between_steps_and_seeds():
    batch = batch_of()
    first, same, other = build(0), build(0), build(1)
    other.fg_conv.load_state_dict(first.fg_conv.state_dict())
    other.bg_conv.load_state_dict(first.bg_conv.state_dict())
    found = [step(r, *batch)['loss_fg_contrast']
             for r in (first, same, other, first)]
    assert found[0] == found[1]
    assert len({float(f) for f in found}) == 3


def test_bank_rests_outside_of_training():
    regularizer = build()
    step(regularizer, *batch_of())
    before = regularizer.banks[0].ordered()
    assert int(regularizer.step) == 1
    losses = step(regularizer.eval(), *batch_of(seed=1))
    assert torch.equal(regularizer.banks[0].ordered(), before)
    assert int(regularizer.step) == 1
    assert losses['loss_bg_contrast'] > 0
    empty = build().eval()
    assert step(empty, *batch_of())['loss_bg_contrast'] == 0


def test_start():
    regularizer = build(start_iter=2)
    found = []
    for seed in range(3):
        feats, logits, labels = batch_of(seed=seed)
        losses = step(regularizer, feats, logits, labels)
        total(losses).backward()
        found.append({k: float(v) for k, v in losses.items()})
    for early in found[:2]:
        assert [early[k] for k in TERMS[:2] + LOGGED] == [0, 0, 0, 0]
        assert early['loss_similarity'] > 0
        assert early['loss_background_seg'] > 0
    assert all(found[2][k] > 0 for k in TERMS + LOGGED)


@pytest.mark.parametrize('dtype', HALF_DTYPES)
def test_zero_vectors_in_mixed_precision(dtype):
    regularizer = build(sim_weight=1., seg_weight=0)
    feats, logits, labels = batch_of()
    feats[:, :, :3] = 0  # dead there
    x = feats.to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype):
        losses = step(regularizer, x, logits.to(dtype), labels)
    assert losses['contrast_queries'] > 0
    (total(losses) * 2**16).backward()
    assert all(v.dtype == torch.float32 and v.isfinite()
               for v in losses.values())
    assert (x.grad[:, :, :3] == 0).all()
    assert regularizer.fg_conv.weight.grad.isfinite().all()
    assert regularizer.banks[0].rows.dtype == torch.float32
    assert regularizer.banks[0].rows.isfinite().all()


def test_all_zero_features():
    regularizer = build()
    feats, logits, labels = batch_of()
    x = torch.zeros_like(feats).requires_grad_()
    losses = step(regularizer, x, logits, labels)
    assert float(losses['loss_bg_contrast']) == pytest.approx(
        0.05 * math.log(NEGATIVES + 1), rel=0.7)
    total(losses).backward()
    assert all(v.isfinite() for v in losses.values())
    assert x.grad.isfinite().all()


def test_a_step_that_overflows_does_no_harm():
    regularizer = build()
    feats, logits, labels = batch_of()
    feats[0, 0], logits[1, 2] = float('inf'), float('nan')
    losses = step(regularizer, feats, logits, labels)
    assert not total(losses).isfinite()
    assert regularizer.banks[0].rows.isfinite().all()
    losses = step(regularizer, *batch_of(seed=1))
    assert all(v.isfinite() for v in losses.values())


def test_frozen_and_trained_norm():
    frozen, trained = build(), build(norm_eval=False)
    for regularizer in (frozen, trained):
        before = regularizer.seg_norm.running_mean.clone()
        regularizer.train()
        step(regularizer, *batch_of())
        moved = not torch.equal(regularizer.seg_norm.running_mean, before)
        assert moved == (regularizer is trained)
        assert regularizer.seg_norm.weight.requires_grad == moved
        assert_close(regularizer.seg_norm.bias.detach(),
                     torch.full((DIMS, ), 1e-4))


def test_initial_values():
    regularizer = build(in_channels=2048, embed_dims=128)
    bound = math.sqrt(6 / (2048 + 128))
    for conv in (regularizer.fg_conv, regularizer.bg_conv):
        assert conv.bias is None
        assert float(conv.weight.abs().max()) == pytest.approx(
            bound, rel=1e-3)
        assert float(conv.weight.std()) == pytest.approx(
            bound / math.sqrt(3), rel=1e-2)
    assert regularizer.seg_conv.bias is None


@pytest.mark.parametrize('kwargs, match', [
    (dict(scores='logits'), "scores='pixel_logits', 'refined_cams' or"),
    (dict(fg_weight=-1), '>= 0 and one above 0'),
    (dict(bg_weight=0, fg_weight=0, sim_weight=0, seg_weight=0),
     'one above 0'),
    (dict(unsure_ratio=1), r'unsure_ratio in \[0, 1\)'),
    (dict(entropy_quantile=2), r'entropy_quantile in \[0, 1\]'),
    (dict(top_share=0), r'top_share in \(0, 1\]'),
    (dict(temperature=0), 'temperature > 0'),
    (dict(num_negatives=0), 'num_negatives >= 1'),
    (dict(num_clusters=0), 'num_clusters >= 1'),
    (dict(max_queries=0), 'max_queries >= 1'),
    (dict(bank_size=0), 'at least 1')])
def test_refuses_settings(kwargs, match):
    with pytest.raises(ValueError, match=match):
        build(**kwargs)


def test_refuses_other_channels_and_classes():
    feats, logits, labels = batch_of()
    with pytest.raises(ValueError, match='in_channels=10.*-1.*has 7'):
        step(build(), feats[:, :7], logits, labels)
    with pytest.raises(ValueError, match='num_classes=5.*3 classes'):
        step(build(), feats, logits, labels[:, :3])


# ------------------------------------------------------------- whole model
def classifier(with_regularizer=True):
    cfg = resnet_cfg()
    cfg['cls_head'].update(
        with_background=True,
        pooling=dict(type='mmwsss.ThresholdedAveragePooling'))
    if with_regularizer:
        cfg['regularizers'] = dict(
            fbr=dict(
                type='mmwsss.FineGrainedBackgroundContrast',
                in_channels=128,
                num_classes=NUM_CLASSES,
                embed_dims=DIMS,
                num_negatives=NEGATIVES,
                bank_size=50))
    model = build_segmentor(**cfg)
    return model, torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)


def train(model, optimizer, steps):
    model.train()
    for t in steps:
        torch.manual_seed(t)
        image = torch.randn(2, 3, 64, 80)
        losses = model.loss(
            image, [sample([t % 5], img_id='x'), sample([1, 3], img_id='y')])
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    return losses


def test_a_resumed_run_is_the_unbroken_one(tmp_path):
    model, optimizer = classifier()
    train(model, optimizer, range(2))
    torch.save((model.state_dict(), optimizer.state_dict()),
               tmp_path / 'last.pth')
    halfway = model.regularizers.fbr.banks[0].ordered()
    expected = train(model, optimizer, range(2, 5))
    assert not torch.equal(model.regularizers.fbr.banks[0].ordered(), halfway)

    torch.manual_seed(99)
    resumed, optimizer = classifier()
    resumed.regularizers.fbr.seed += 1  # the checkpoint's counts
    states = torch.load(tmp_path / 'last.pth', weights_only=True)
    resumed.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    found = train(resumed, optimizer, range(2, 5))
    assert {f'fbr.{name}' for name in (*TERMS, *LOGGED)} <= set(found)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_plain_model_loads_its_weights_and_predicts_the_same():
    model, optimizer = classifier()
    train(model, optimizer, range(2))
    plain, _ = classifier(with_regularizer=False)
    missing, unexpected = plain.load_state_dict(
        model.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith('regularizers.') for name in unexpected)
    image = torch.randn(2, 3, 64, 80)
    found = []
    for each in (model, plain):
        with torch.no_grad():
            found.append(each.eval().predict(
                image, [sample([1], (64, 80)), sample([0, 3], (64, 80))]))
    for one, other in zip(*found):
        assert torch.equal(one.cams, other.cams)
        assert torch.equal(one.tag_scores, other.tag_scores)


def test_a_head_that_does_not_score_the_background():
    cfg = resnet_cfg(regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=128,
            num_classes=NUM_CLASSES)))
    with pytest.raises(ValueError, match='with_background=True'):
        build_segmentor(**cfg)


# ----------------------------------------------------------- two processes
STEPS = 3
NAMES = ['d', 'b', 'c', 'a']


def steps_of(regularizer, share):
    """Losses, gradients and banks of some steps on a share of the images."""
    module = getattr(regularizer, 'module', regularizer)
    module.seg_dropout.eval()
    history = []
    for t in range(STEPS):
        feats, logits, labels = batch_of(len(NAMES), seed=t)
        regularizer.zero_grad()
        losses = step(regularizer, feats[share], logits[share], labels[share],
                      [NAMES[i] for i in range(len(NAMES))[share]])
        total(losses).backward()
        history.append(
            dict(
                losses={k: float(v) for k, v in losses.items()},
                bank=module.banks[0].ordered(),
                grads={
                    n: p.grad.clone() for n, p in module.named_parameters()
                    if p.requires_grad
                }))
    return history


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    # Another seed in each process: what rank 0 has must count.
    history = steps_of(
        DistributedDataParallel(build(seed=rank, max_queries=5)),
        slice(rank, None, 2))
    torch.save(history, f'{folder}/{rank}.pt')
    regularizer, batch = build(), batch_of(2 + rank)
    try:
        step(regularizer, *batch)
    except ValueError as error:
        torch.save(str(error), f'{folder}/error{rank}.pt')
    dist.destroy_process_group()


def test_one_process_and_two(tmp_path):
    mp.spawn(work, (str(tmp_path), ), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    whole = steps_of(build(max_queries=5), slice(0, None))
    for one, *both in zip(whole, *parts):
        for part in both:
            assert torch.equal(part['bank'], both[0]['bank'])
            assert_close(part['bank'], one['bank'])
            for name, grad in one['grads'].items():
                assert_close(
                    part['grads'][name], grad, rtol=1e-4, atol=1e-6)
        for name, value in one['losses'].items():
            found = [part['losses'][name] for part in both]
            if name in LOGGED:
                assert found == [value] * 2  # Of the global batch already.
            assert sum(found) / 2 == pytest.approx(value, rel=1e-5)
    assert whole[-1]['losses']['contrast_bank'] == 50
    for rank in (0, 1):
        assert 'same shape' in torch.load(tmp_path / f'error{rank}.pt')
