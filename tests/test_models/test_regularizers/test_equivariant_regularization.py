import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.regularizers.equivariant_regularization import (
    adaptive_min_pooling_loss,
    hard_mean,
    minmax_norm,
    winner_take_all,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair

EPS = 1e-5


def build(**kwargs):
    return MODELS.build(dict(type='mmwsss.EquivariantRegularization',
                             **kwargs))


def second_view(**kwargs):
    return MODELS.build(kwargs or dict(type='mmwsss.Rescale'))


def tags(*images, num_classes=5):
    labels = torch.zeros(len(images), num_classes)
    for row, ids in zip(labels, images):
        row[list(ids)] = 1
    return labels


def make_views(labels, size=(20, 30), second=None, stride=4, seed=0):
    """Two views of random maps, small as a network gives them."""
    torch.manual_seed(seed)
    second = second or second_view()
    image = torch.randn(len(labels), 3, *size)
    views = []
    for x in (image, second.apply(image)):
        h, w = (-(-s // stride) for s in x.shape[-2:])
        views.append(
            ViewOutput(
                x,
                labels,
                fields=dict(
                    cams=torch.randn(
                        *labels.shape, h, w, requires_grad=True),
                    refined_cams=torch.rand(
                        len(labels), labels.shape[1] + 1, h, w,
                        requires_grad=True))))
    return *views, second


def leaves(*views):
    return [getattr(v, n) for v in views for n in ('cams', 'refined_cams')]


def norm(plane):
    """The normalisation of one map, as the paper's code states it."""
    plane = plane.clamp(min=0)
    low, high = plane.min(), plane.max()
    return (plane - low - EPS).clamp(min=0) / (high - low + EPS)


def up(maps, size):
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)


def dense_losses(view, other, transform, topk_ratio=0.2, rvmin_ratio=0.25):
    """All classes, image by image and plane by plane."""
    num_images, num_classes = view.labels.shape
    size1, size2 = view.image.shape[-2:], other.image.shape[-2:]
    er = ecr = rvmin = 0.
    for i in range(num_images):
        y = view.labels[i]

        def planes(maps, size, y):
            return [norm(p) * t for p, t in zip(up(maps[i:i + 1], size)[0], y)]

        def moved(maps, y):
            normed = torch.stack([norm(p) for p in up(maps[i:i + 1],
                                                      size1)[0]])
            return [p * t for p, t in zip(transform(normed[None])[0], y)]

        y0 = torch.cat((torch.ones(1), y))
        c1, c2 = moved(view.cams, y), planes(other.cams, size2, y)
        r1 = moved(view.refined_cams, y0)
        r2 = planes(other.refined_cams, size2, y0)
        er = er + sum((a - b).abs().sum() for a, b in zip(c1, c2)) / (
            num_images * num_classes * size2[0] * size2[1])
        for cams, refined in ((c2, r1), (c1, r2)):
            cams = [c.detach() for c in cams]
            best = torch.stack(cams).max(dim=0)[0]
            target = [1 - best] + [
                torch.where(c == best, c, torch.zeros_like(c)) for c in cams
            ]
            errors = torch.cat([(t - r).abs().flatten()
                                for t, r in zip(target, refined)])
            count = max(int(len(errors) * topk_ratio), 1)
            ecr = ecr + errors.sort(
                descending=True)[0][:count].mean() / num_images
        for v, size in ((view, size1), (other, size2)):
            raw = up(v.refined_cams[i:i + 1], size)[0, 1:]
            strongest = (raw * y[:, None, None]).max(dim=0)[0].flatten()
            count = max(int(len(strongest) * rvmin_ratio), 1)
            rvmin = rvmin + strongest.sort()[0][:count].clamp(
                min=0).mean() / num_images / 2
    return dict(loss_er=er, loss_ecr=ecr, loss_rvmin=rvmin)


def check_against_dense(view, other, second, **kwargs):
    found = build(**kwargs)(ViewPair(view, other, transform=second.apply))
    expected = dense_losses(view, other, second.apply, **kwargs)
    assert list(found) == ['loss_er', 'loss_ecr', 'loss_rvmin']
    for name, value in found.items():
        assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    grads = torch.autograd.grad(sum(found.values()), leaves(view, other))
    targets = torch.autograd.grad(
        sum(expected.values()), leaves(view, other))
    for a, b in zip(grads, targets):
        assert a.isfinite().all()
        assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    'labels',
    [
        tags([1, 3], [0, 1, 4], []),
        tags([]),
        tags([], []),
        tags([2]),
        tags(range(5), [0]),
        tags(range(20), num_classes=20),
        tags([0], [], num_classes=1),
        tags([7, 55], num_classes=80),
    ],
    ids=['mixed', 'none', 'none twice', 'single', 'all', 'all of 20',
         'one class', 'of 80'])
def test_losses_and_gradients_follow_the_formula(labels):
    check_against_dense(*make_views(labels))


@pytest.mark.parametrize('size', [(4, 4), (7, 4), (4, 40), (1, 1)])
def test_tiny_images(size):
    """Second views down to a single pixel; every count is at least one."""
    check_against_dense(*make_views(tags([0, 2], []), size))


@pytest.mark.parametrize('kwargs', [
    dict(topk_ratio=1.),
    dict(topk_ratio=.01),
    dict(topk_ratio=.9),
    dict(rvmin_ratio=1.)
])
def test_ratios(kwargs):
    check_against_dense(*make_views(tags([0, 2], [1])), **kwargs)


@pytest.mark.parametrize('cfg', [
    dict(type='mmwsss.HorizontalFlip'),
    dict(type='mmwsss.Rescale', scale=0.6, size_divisor=8),
    dict(
        type='mmwsss.Compose',
        views=[
            dict(type='mmwsss.Rescale', scale=0.5),
            dict(type='mmwsss.HorizontalFlip')
        ]),
],
                         ids=['flip', 'divisor', 'compose'])
def test_other_second_views(cfg):
    check_against_dense(
        *make_views(tags([0, 2], [1]), second=second_view(**cfg)))


def test_equivariant_maps_cost_nothing():
    """Flipped image, flipped maps: no error, in either frame."""
    flip = second_view(type='mmwsss.HorizontalFlip')
    view, other, _ = make_views(tags([0, 2], [1]), second=flip)
    regularizer = build(ecr_weight=0, rvmin_weight=0)
    other.fields['cams'] = view.cams.flip(-1)
    same = regularizer(ViewPair(view, other, transform=flip.apply))
    assert float(same['loss_er']) < 1e-7
    other.fields['cams'] = view.cams
    other.aligned = True
    aligned = regularizer(ViewPair(view, other, transform=lambda x: x))
    assert float(aligned['loss_er']) == 0
    wrong = regularizer(ViewPair(view, other, transform=flip.apply))
    assert float(wrong['loss_er']) > 0.05


def test_perfect_refined_maps_cost_nothing():
    """Sharp maps of one class, and the background as its complement."""
    labels = tags([1])
    view, other, second = make_views(
        labels, (8, 8), second_view(type='mmwsss.HorizontalFlip'), stride=1)
    cams = torch.zeros(1, 5, 8, 8)
    cams[0, 1, 2:5, 1:4] = 1
    refined = torch.cat((1 - cams[:, 1:2], cams), dim=1)
    for v, c, r in ((view, cams, refined),
                    (other, cams.flip(-1), refined.flip(-1))):
        v.fields.update(cams=c, refined_cams=r)
    losses = build()(ViewPair(view, other, transform=second.apply))
    # eps keeps the normalisation below one by 2e-5.
    for value in losses.values():
        assert abs(float(value)) < 1e-4


def test_who_gets_a_gradient():
    view, other, second = make_views(tags([1, 3]))

    def reached(name):
        losses = build()(ViewPair(view, other, transform=second.apply))
        grads = torch.autograd.grad(
            losses[name], leaves(view, other), allow_unused=True)
        return [g is not None and bool(g.any()) for g in grads], grads

    assert reached('loss_er')[0] == [True, False, True, False]
    assert reached('loss_ecr')[0] == [False, True, False, True]
    assert reached('loss_rvmin')[0] == [False, True, False, True]
    grads = reached('loss_er')[1]
    for grad in (grads[0], grads[2]):
        assert (grad[0, [0, 2, 4]] == 0).all()
        assert grad[0, [1, 3]].flatten(1).any(dim=1).all()


def test_weights_and_terms():
    view, other, second = make_views(tags([1, 3], [0]))

    def losses(**kwargs):
        return build(**kwargs)(
            ViewPair(view, other, transform=second.apply))

    plain = losses()
    weighted = losses(er_weight=2., ecr_weight=.5, rvmin_weight=3.)
    for name, weight in (('er', 2.), ('ecr', .5), ('rvmin', 3.)):
        key = f'loss_{name}'
        assert_close(weighted[key], weight * plain[key])
        off = losses(**{f'{name}_weight': 0.})
        assert set(off) == set(plain) - {key}
        for other_key in off:
            assert_close(off[other_key], plain[other_key])


def test_terms_of_weight_zero_read_nothing():
    view, other, second = make_views(tags([1]))
    assert build().needs_second_view and build().needs_refined_cams
    regularizer = build(ecr_weight=0, rvmin_weight=0)
    assert not regularizer.needs_refined_cams
    for v in (view, other):
        del v.fields['refined_cams']
    losses = regularizer(ViewPair(view, other, transform=second.apply))
    assert set(losses) == {'loss_er'}

    view, other, second = make_views(tags([1]))
    regularizer = build(er_weight=0, ecr_weight=0)
    assert regularizer.needs_refined_cams
    for v in (view, other):
        del v.fields['cams']
    losses = regularizer(ViewPair(view, other, transform=second.apply))
    assert set(losses) == {'loss_rvmin'}
    assert build(ecr_weight=0).needs_refined_cams
    assert build(rvmin_weight=0).needs_refined_cams


def test_half_precision_maps_are_compared_in_full():
    view, other, second = make_views(tags([1, 3], []))
    regularizer = build()
    for v in (view, other):
        for name in ('cams', 'refined_cams'):
            v.fields[name] = v.fields[name].detach().bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        half = regularizer(ViewPair(view, other, transform=second.apply))
    for v in (view, other):
        for name in ('cams', 'refined_cams'):
            v.fields[name] = v.fields[name].float()
    full = regularizer(ViewPair(view, other, transform=second.apply))
    for name in full:
        assert half[name].dtype == torch.float32
        assert_close(half[name], full[name], rtol=0, atol=0)


def test_all_zero_maps():
    view, other, second = make_views(tags([1, 3], []))
    zeros = [torch.zeros_like(x).requires_grad_() for x in leaves(view, other)]
    for v, cams, refined in ((view, *zeros[:2]), (other, *zeros[2:])):
        v.fields.update(cams=cams, refined_cams=refined)
    losses = build()(ViewPair(view, other, transform=second.apply))
    assert float(losses['loss_er']) == float(losses['loss_rvmin']) == 0
    # CAMs all zero say background everywhere, refined ones nothing:
    # one plane of six is wrong by one, and all of it is in the hardest fifth.
    assert_close(losses['loss_ecr'], torch.tensor(2 * 54 / int(6 * 54 * 0.2)))
    sum(losses.values()).backward()
    assert all(x.grad.isfinite().all() for x in zeros)


def test_sizes_must_meet():
    view, other, _ = make_views(tags([1]))
    with pytest.raises(ValueError, match=r'\(10, 15\) pixels.*\(6, 9\)'):
        build()(ViewPair(view, other, transform=second_view(
            type='mmwsss.Rescale', scale=0.5).apply))


@pytest.mark.parametrize('kwargs, match', [
    (dict(er_weight=-1), '>= 0'),
    (dict(er_weight=0, ecr_weight=0, rvmin_weight=0), 'one above 0'),
    (dict(topk_ratio=0), 'topk_ratio in'),
    (dict(rvmin_ratio=1.5), 'rvmin_ratio in'),
])
def test_wrong_settings(kwargs, match):
    with pytest.raises(ValueError, match=match):
        build(**kwargs)


# ---------------------------------------------------------------- functions
def test_minmax_norm():
    maps = torch.randn(2, 3, 5, 4, dtype=torch.float64) + .5
    normed = minmax_norm(maps)
    for i in range(2):
        for k in range(3):
            p = [max(float(x), 0.) for x in maps[i, k].flatten()]
            expected = [
                max(x - min(p) - EPS, 0.) / (max(p) - min(p) + EPS) for x in p
            ]
            assert_close(normed[i, k].flatten().tolist(), expected)
    assert_close(minmax_norm(maps[0]), normed[0])
    for constant in (-1., 0., 3.):
        assert (minmax_norm(torch.full((2, 3, 3), constant)) == 0).all()


def test_minmax_norm_is_differentiated_through_its_limits():
    torch.manual_seed(0)
    maps = torch.rand(1, 2, 3, 4, dtype=torch.float64) + .5
    torch.autograd.gradcheck(minmax_norm, maps.requires_grad_())
    # Scaling a map leaves it (nearly) as it is, so the loss has no slope
    # along the map itself once the minimum is zero.
    maps = torch.rand(1, 1, 3, 4, dtype=torch.float64)
    maps[..., 0, 0] = 0
    maps.requires_grad_()
    minmax_norm(maps).square().sum().backward()
    assert abs(float((maps.grad * maps).sum())) < 1e-3


def test_winner_take_all():
    maps = torch.tensor([.9, .2, .5, .5, .1]).view(1, 5, 1, 1)
    copy = maps.clone()
    assert_close(
        winner_take_all(maps).flatten(),
        torch.tensor([.9, 0., .5, .5, 0.]))
    assert_close(
        winner_take_all(maps, background=False).flatten(),
        torch.tensor([.9, 0., 0., 0., 0.]))
    assert_close(maps, copy)
    assert (winner_take_all(torch.zeros(1, 3, 2, 2)) == 0).all()


def test_adaptive_min_pooling_loss():
    torch.manual_seed(0)
    maps = torch.randn(3, 4, 5, 7)
    for ratio in (.25, .6, 1., 1e-3):
        expected = []
        for image in maps:
            best = sorted(
                max(float(image[k, y, x]) for k in range(4))
                for y in range(5) for x in range(7))
            count = max(int(35 * ratio), 1)
            expected.append(sum(max(b, 0.) for b in best[:count]) / count)
        assert_close(
            adaptive_min_pooling_loss(maps, ratio),
            torch.tensor(sum(expected) / 3), rtol=1e-5, atol=1e-7)


def test_hard_mean():
    errors = torch.tensor([[[5., 1.], [3., 0.]], [[0., 2.], [2., 1.]]])
    assert float(hard_mean(errors, .5)) == ((5 + 3) / 2 + 2) / 2
    assert float(hard_mean(errors, 1.)) == (9 / 4 + 5 / 4) / 2
    assert float(hard_mean(errors, .1)) == (5 + 2) / 2
    # Left-out zeros count: with or without them, the same mean.
    full = torch.cat((errors, torch.zeros(2, 6, 2)), dim=1)
    for ratio in (.1, .25, .5, 1.):
        assert_close(hard_mean(errors, ratio, 16), hard_mean(full, ratio))
