import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from mmwsss.models.regularizers.pixel_prototype_contrast import (
    best_pixels,
    cosines_of,
    intra_view_contrast,
    intra_view_weights,
    keep_assigned,
    prototype_contrast,
    unit_prototypes,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair
from tests.test_models.builders import (
    HALF_DTYPES,
    build_segmentor,
    resnet_cfg,
    sample,
)


def build(num_classes=3, in_channels=4, seed=0, **kwargs):
    torch.manual_seed(seed)
    return MODELS.build(
        dict(
            type='mmwsss.PixelPrototypeContrast',
            in_channels=in_channels,
            num_classes=num_classes,
            embed_dims=6,
            **kwargs))


def random_views(labels, seed=0, sizes=((8, 10), (4, 5)), channels=4):
    generator = torch.Generator().manual_seed(seed)
    n, k = labels.shape
    views = []
    for size in sizes:
        feats = torch.randn(n, channels, *size, generator=generator)
        maps = torch.rand(n, k + 1, *size, generator=generator)
        views.append(
            ViewOutput(
                torch.zeros(n, 3, *size), labels,
                dict(
                    feats=(feats.requires_grad_(), ),
                    refined_cams=maps.requires_grad_())))
    return views


def run(regularizer, views, names=None):
    names = names or [f'im{i}' for i in range(len(views[0].labels))]
    return regularizer(
        ViewPair(*views, [sample([], img_id=i) for i in names]))


LABELS = torch.tensor([[1., 0., 1.], [0., 1., 0.]])


# ----------------------------------------------------------- prototypes
def test_best_pixels_share_the_last_places():
    scores = torch.tensor([[.1, .9, .5, .5, .5, .2], [.3] * 6])
    weights = best_pixels(scores, 3)
    assert_close(
        weights,
        torch.tensor([[0, 1, 2 / 3, 2 / 3, 2 / 3, 0], [.5] * 6]))


def test_prototypes_follow_the_formula():
    torch.manual_seed(0)
    scores, feats = torch.rand(2, 4, 3, 5), torch.randn(2, 6, 3, 5)
    found = unit_prototypes(scores, feats, 4)
    for c in range(4):
        pixels = [(float(scores[n, c, i, j]), feats[n, :, i, j])
                  for n in range(2) for i in range(3) for j in range(5)]
        best = sorted(pixels, key=lambda p: -p[0])[:4]
        mean = sum(s * z for s, z in best) / sum(s for s, _ in best)
        assert_close(found[c], mean / mean.norm())
    # A choice of others, and one of nothing.
    rows = torch.tensor([[0, 16]] * 4)
    found = unit_prototypes(scores, feats, 2, rows)
    both = scores[0, 1, 0, 0] * feats[0, :, 0, 0] + \
        scores[1, 1, 0, 1] * feats[1, :, 0, 1]
    assert_close(found[1], both / both.norm())
    assert not unit_prototypes(torch.zeros_like(scores), feats, 4).any()
    # Empty maps are -1 everywhere; the mean feature is what is left.
    mean = feats.mean(dim=(0, 2, 3))
    assert_close(
        unit_prototypes(torch.full_like(scores, -1), feats, 2)[0],
        mean / mean.norm())


def test_keep_assigned():
    scores = torch.rand(2, 3, 2, 2)
    labels = torch.tensor([[[0, 1], [1, 0]], [[0, 0], [0, 2]]])
    kept = keep_assigned(scores, labels)
    expected = scores.clone()
    expected[0, 1][labels[0] != 1] = 0
    # Class 2 won nowhere in the first image, class 1 not in the second.
    expected[1, 2][labels[1] != 2] = 0
    assert torch.equal(kept, expected)


# --------------------------------------------------------------- losses
@pytest.mark.parametrize('foreground_only', [False, True])
def test_prototype_contrast(foreground_only):
    torch.manual_seed(0)
    feats, labels = torch.randn(2, 6, 2, 3), torch.randint(4, (2, 2, 3))
    prototypes = torch.nn.functional.normalize(torch.randn(4, 6), dim=1)
    total = 0.
    for n in range(2):
        for i in range(2):
            for j in range(3):
                u = feats[n, :, i, j] / feats[n, :, i, j].norm()
                terms = (prototypes @ u / 0.2).exp()
                y = int(labels[n, i, j])
                if y or not foreground_only:
                    total -= float((terms[y] / terms.sum()).log())
    cosines = cosines_of(feats[None], prototypes[None])
    found = prototype_contrast(cosines, labels.flatten()[None], 0.2,
                               foreground_only)
    assert found.shape == (1, 1)
    assert float(found) == pytest.approx(total / 12, rel=1e-5)


@pytest.mark.parametrize('num_planes', [2, 4, 9, 21])
def test_intra_view_contrast(num_planes):
    torch.manual_seed(num_planes)
    feats = torch.randn(2, 6, 5, 7)
    labels = torch.randint(min(num_planes, 5), (2, 5, 7))
    labels[0, 0, 0] = num_planes - 1  # Perhaps its only pixel.
    prototypes = torch.nn.functional.normalize(
        torch.randn(num_planes, 6), dim=1)
    pixels = feats.permute(0, 2, 3, 1).reshape(-1, 6)
    owners = labels.flatten()
    picks, total, present = [], 0., 0
    for c in range(num_planes):
        members = (owners == c).nonzero()[:, 0]
        n = len(members)
        picks.append(torch.randperm(n)[:n // 2])
        present += n > 0
        if n < 2:
            continue
        losses, likeness = [], []
        for i in members:
            cosines = prototypes @ (pixels[i] / pixels[i].norm())
            others = cosines.sort(descending=True)[0][3:13]
            keys = torch.cat((cosines[c:c + 1], others)) / 0.1
            losses.append(keys.logsumexp(0) - keys[0])
            likeness.append(cosines[c])
        order = torch.stack(likeness).argsort()[:int(.6 * n)]
        order = order[int(.6 * n) - n // 2:]
        chosen = [*picks[c].tolist(), *order.tolist()]
        total += float(sum(losses[i] for i in chosen)) / len(chosen)
    feats.requires_grad_()
    cosines = cosines_of(feats[None], prototypes[None])
    found = intra_view_contrast(
        cosines.view(1, 2, 35, -1), labels.view(1, 2, 35), picks=[picks])
    assert float(found) == pytest.approx(total / present, rel=1e-5, abs=1e-7)
    found.backward()
    assert feats.grad.isfinite().all()


def test_halves_are_random_and_whole():
    cosines, owners = torch.rand(101), torch.arange(101) % 2
    draws = [
        intra_view_weights(
            cosines[None], owners[None], 3,
            generator=torch.Generator().manual_seed(seed))[0]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    for c in (0, 1):
        assert float(draws[0][owners == c].sum()) == pytest.approx(.5)


# ---------------------------------------------------------- regularizer
def test_terms_and_gradients():
    views = random_views(LABELS)
    regularizer = build()
    losses = run(regularizer, views)
    assert set(losses) == {
        'loss_cross_prototype', 'loss_cross_label', 'loss_intra_view'
    }
    for value in losses.values():
        grads = torch.autograd.grad(
            value, [v.feats[0] for v in views], retain_graph=True)
        assert all(g.abs().sum() > 0 for g in grads)
    sum(losses.values()).backward()
    assert regularizer.projection.weight.grad.abs().sum() > 0
    # CAMs make labels and weights, which are constants.
    assert all(v.refined_cams.grad is None for v in views)


@pytest.mark.parametrize('labels', [
    torch.zeros(2, 3),
    torch.ones(1, 3),
    torch.ones(2, 1),
    torch.eye(20)[:2],
    torch.ones(1, 80),
], ids=['none', 'all', 'one class', 'of 20', '80'])
@pytest.mark.parametrize('sizes', [((8, 10), (4, 5)), ((2, 3), (1, 1))],
                         ids=['small', 'one pixel'])
@pytest.mark.parametrize('foreground_only', [False, True])
@pytest.mark.parametrize('empty', [False, True])
def test_edge_cases(labels, sizes, foreground_only, empty):
    views = random_views(labels, sizes=sizes)
    regularizer = build(
        labels.shape[1], foreground_only=foreground_only, area_divisor=16)
    if empty:
        for v in views:
            v.fields['refined_cams'] = torch.zeros_like(v.refined_cams)
            v.fields['feats'] = (torch.zeros_like(
                v.feats[0], requires_grad=True), )
    losses = run(regularizer, views)
    sum(losses.values()).backward()
    for value in losses.values():
        assert value.isfinite()
    for tensor in (views[0].feats[0].grad, views[1].feats[0].grad,
                   regularizer.projection.weight.grad):
        assert tensor.isfinite().all()


def test_half_precision():
    views = random_views(LABELS)
    regularizer = build()
    expected = run(copy.deepcopy(regularizer), views)
    for dtype in HALF_DTYPES:
        with torch.autocast('cpu', dtype):
            found = run(copy.deepcopy(regularizer), views)
        for name, value in found.items():
            assert value.dtype == torch.float32
            assert_close(value, expected[name], rtol=0.1, atol=0.02)


def test_resumes_exactly():
    first = build()
    run(first, random_views(LABELS, seed=1))
    second = build(seed=5)
    second.load_state_dict(first.state_dict())
    a, b = (run(r, random_views(LABELS, seed=2)) for r in (first, second))
    assert a == b and int(second.step) == 2
    # Another draw from the same features.
    c = run(first, random_views(LABELS, seed=2))
    assert a['loss_intra_view'] != c['loss_intra_view']
    assert a['loss_cross_label'] == c['loss_cross_label']


def test_messages():
    views = random_views(LABELS)
    with pytest.raises(ValueError, match='in_channels=5.*has 4 channels'):
        run(build(in_channels=5), views)
    with pytest.raises(ValueError, match='num_classes=2.*of 3 classes'):
        run(build(num_classes=2), views)
    for wrong in (dict(cross_weight=0, intra_weight=0),
                  dict(cross_weight=-1), dict(temperature=0),
                  dict(area_divisor=0)):
        with pytest.raises(ValueError, match='PixelPrototypeContrast needs'):
            build(**wrong)


def test_in_a_segmentor():
    parts = resnet_cfg(
        regularizers=dict(
            ppc=dict(
                type='mmwsss.PixelPrototypeContrast',
                in_channels=128,
                num_classes=5)),
        refiner=dict(
            type='mmwsss.PixelCorrelationModule',
            in_channels=(128, ),
            channels=(8, ),
            in_index=(0, ),
            query_channels=4))
    with pytest.raises(ValueError, match='compares two views'):
        build_segmentor(**parts)
    model = build_segmentor(
        **parts, second_view=dict(type='mmwsss.Rescale', scale=0.5))
    losses = model.loss(
        torch.randn(2, 3, 64, 64), [sample([1, 2]), sample([], img_id='y')])
    assert losses['ppc.loss_intra_view'] > 0
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad.isfinite().all()
               for p in model.regularizers.parameters())


# -------------------------------------------------------- two processes
NAMES = ['d', 'b', 'c', 'a']


def step_of(regularizer, share):
    labels = torch.tensor([[1., 0., 1.], [0., 1., 0.], [0., 0., 0.],
                           [1., 1., 1.]])
    history = []
    for t in range(2):
        views = [
            ViewOutput(
                v.image[share], v.labels[share],
                dict(
                    feats=(v.feats[0].detach()[share], ),
                    refined_cams=v.refined_cams[share]))
            for v in random_views(labels, seed=t)
        ]
        regularizer.zero_grad()
        losses = run(regularizer, views, NAMES[share])
        sum(losses.values()).backward()
        module = getattr(regularizer, 'module', regularizer)
        history.append((losses, module.projection.weight.grad.clone()))
    return history


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    # Another seed in each process: what rank 0 has must count.
    history = step_of(
        DistributedDataParallel(build(seed=rank)), slice(rank, None, 2))
    torch.save([({k: float(v) for k, v in losses.items()}, grad)
                for losses, grad in history], f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_one_process_and_two(tmp_path):
    mp.spawn(work, (str(tmp_path), ), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    for (losses, grad), one, two in zip(step_of(build(), slice(None)), *parts):
        for name, value in losses.items():
            assert (one[0][name] + two[0][name]) / 2 == pytest.approx(
                float(value), rel=1e-5)
        for found in (one[1], two[1]):
            assert_close(found, grad, rtol=1e-4, atol=1e-6)
