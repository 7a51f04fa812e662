"""The pixel correlation module against its formulas written out."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mmwsss.models.refiners import pixel_correlation_module as module
from mmwsss.models.refiners.pixel_correlation_module import (
    PixelCorrelationModule,
    competing_maps,
    pixel_correlation,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput


def compete(cams, eps=1e-5):
    """Pixel by pixel, in float64."""
    n, k, height, width = cams.shape
    out = torch.zeros(n, k + 1, height, width)
    for i in range(n):
        highest = [max(cams[i, c].max().item(), 0) for c in range(k)]
        for y in range(height):
            for x in range(width):
                p = [
                    max(max(cams[i, c, y, x].item(), 0) - eps, 0) /
                    (highest[c] + eps) for c in range(k)
                ]
                out[i, 0, y, x] = 1 - max(p)
                for c in range(k):
                    out[i, c + 1, y, x] = p[c] if p[c] == max(p) else 0
    return out


def dense(maps, features, eps=1e-5):
    """The whole matrix by autograd, in float64."""
    f = features.double().flatten(2)
    e = f / (f.pow(2).sum(1, keepdim=True).sqrt() + eps)
    s = torch.einsum('ndi,ndj->nij', e, e).relu()
    s = s / (s.sum(1, keepdim=True) + eps)
    out = torch.einsum('nci,nij->ncj', maps.double().flatten(2), s)
    return out.unflatten(2, maps.shape[2:])


def inputs(n=2, c=4, d=5, size=(6, 7), seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, c, *size, generator=generator).to(dtype),
            torch.randn(n, d, *size, generator=generator).to(dtype))


# ------------------------------------------------------------ competition
@pytest.mark.parametrize('classes', [1, 2, 5])
@pytest.mark.parametrize('size', [(5, 6), (1, 1)])
def test_competing_maps_equal_loops(classes, size):
    torch.manual_seed(0)
    cams = torch.randn(2, classes, *size)
    found = competing_maps(cams)
    assert_close(found, compete(cams), rtol=1e-6, atol=1e-6)
    assert found.min() >= 0 and found.max() <= 1


def test_ties_are_kept_losers_are_zero():
    # Equal after division by each map's own maximum, 4 and 2.
    cams = torch.tensor([[4., 2., 4., -1.], [2., 1., 0., -1.],
                         [1., 0., 1., -2.]]).view(1, 3, 2, 2)
    first, second, third = competing_maps(cams, eps=0)[0, 1:].flatten(1)
    assert first.tolist() == [1, .5, 1, 0]
    assert second.tolist() == [1, .5, 0, 0]
    assert third.tolist() == [1, 0, 1, 0]


def test_no_evidence_is_background():
    found = competing_maps(-torch.rand(1, 3, 4, 5))
    assert (found[:, 0] == 1).all() and not found[:, 1:].any()


def test_competing_maps_have_no_gradient_and_leave_the_input():
    cams = torch.randn(1, 2, 3, 3, requires_grad=True)
    kept = cams.detach().clone()
    assert not competing_maps(cams).requires_grad
    assert_close(cams.detach(), kept, rtol=0, atol=0)


# ------------------------------------------------------------ correlation
@pytest.mark.parametrize('block_size', [None, 1, 5, 42, 100])
@pytest.mark.parametrize('n', [1, 3])
def test_equals_dense_formula_for_any_block(n, block_size):
    maps, features = inputs(n)
    found = pixel_correlation(maps, features, block_size)
    assert found.dtype == torch.float32 and not found.requires_grad
    assert_close(
        found, dense(maps, features).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('block_size', [None, 1, 5, 100])
@pytest.mark.parametrize('want', [(True, True), (True, False), (False, True)])
def test_gradients_equal_dense_formula(want, block_size):
    maps, features = inputs(dtype=torch.float64)
    weight = torch.randn_like(maps)
    grads = []
    for function in (dense, lambda m, f: pixel_correlation(m, f, block_size)):
        leaves = [
            x.clone().requires_grad_(w) for x, w in zip((maps, features), want)
        ]
        (function(*leaves) * weight).sum().backward()
        grads.append([x.grad for x in leaves])
    for expected, found in zip(*grads):
        assert (found is None) == (expected is None)
        if found is not None:
            assert found.abs().max() > 1e-3
            assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_gradcheck():
    maps, features = inputs(1, 2, 3, (2, 3), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda m, f: pixel_correlation(m, f, 4),
        (maps.requires_grad_(), features.requires_grad_()))


def test_single_position():
    maps, features = inputs(2, 3, 4, (1, 1))
    # e = f / (|f| + eps), s = e . e, result = y s / (s + eps)
    norm = features.norm(dim=1, keepdim=True)
    s = (norm / (norm + 1e-5))**2
    assert_close(pixel_correlation(maps, features), maps * s / (s + 1e-5))


def test_constant_features_give_the_mean():
    maps, features = inputs()
    found = pixel_correlation(maps, features[..., :1, :1].expand_as(features))
    expected = maps.mean(dim=(2, 3), keepdim=True).expand_as(maps)
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_zero_features_give_zero_and_finite_gradients():
    maps, features = inputs()
    features[1] = 0
    features.requires_grad_()
    found = pixel_correlation(maps, features)
    assert found[0].min() > 0 and not found[1].any()
    found.sum().backward()
    assert features.grad.isfinite().all()
    assert not features.grad[1].any()


def test_opposite_pixels_share_nothing():
    """Negative cosines count as zero."""
    features = torch.tensor([1., -1.]).view(1, 1, 1, 2)
    maps = torch.tensor([3., 5.]).view(1, 1, 1, 2)
    assert_close(
        pixel_correlation(maps, features), maps, rtol=1e-4, atol=1e-4)


def test_no_plane_and_no_image():
    maps, features = inputs()
    assert pixel_correlation(maps[:, :0], features).shape == (2, 0, 6, 7)
    assert pixel_correlation(maps[:0], features[:0]).shape == (0, 4, 6, 7)


def test_autocast_computes_in_single_precision():
    maps, features = inputs()
    weight = torch.randn_like(maps)
    results = []
    for enabled in (False, True):
        leaf = features.clone().requires_grad_()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            out = pixel_correlation(maps, leaf, 5)
            (out * weight).sum().backward()
        results.append((out.detach(), leaf.grad))
    for expected, found in zip(*results):
        assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_inputs(dtype):
    maps, features = inputs(dtype=dtype)
    features.requires_grad_()
    found = pixel_correlation(maps, features)
    assert found.dtype == torch.float32
    assert_close(
        found, dense(maps, features).float(), rtol=1e-5, atol=1e-6)
    found.sum().backward()
    assert features.grad.dtype == dtype


class LargestTensor(TorchDispatchMode):
    """Elements of the largest memory block any operation returns."""
    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.size = max(self.size, out.untyped_storage().nbytes() //
                            out.element_size())
        return out


@pytest.mark.parametrize('block_size', [16, None])
def test_never_the_whole_matrix_neither_way(block_size, monkeypatch):
    if block_size is None:
        # As many bytes as 16 columns of both images.
        monkeypatch.setattr(module, 'BLOCK_BYTES', 4 * 2 * 400 * 16 + 5)
    maps, features = inputs(2, 3, 4, (20, 20))
    maps.requires_grad_()
    features.requires_grad_()
    with LargestTensor() as largest:
        pixel_correlation(maps, features, block_size).sum().backward()
    assert largest.size == 2 * 400 * 16


def test_refuses():
    maps, features = inputs()
    for a, b in ((maps[:1], features), (maps[..., 1:], features),
                 (maps[:, :, 1:], features), (maps[0], features[0])):
        with pytest.raises(ValueError, match='needs maps'):
            pixel_correlation(a, b)
    with pytest.raises(ValueError, match='block_size is 0'):
        pixel_correlation(maps, features, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_equals_cpu():
    results = []
    for device in ('cpu', 'cuda'):
        maps, features = (x.to(device) for x in inputs())
        features.requires_grad_()
        with torch.autocast(device, dtype=torch.bfloat16):
            out = pixel_correlation(maps, features, 5)
            (out * maps).sum().backward()
        results.append((out.detach().cpu(), features.grad.cpu()))
    for expected, found in zip(*results):
        assert_close(found, expected, rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------- module
def make_view(n=2, classes=3, image=(24, 20), cam_size=(6, 5)):
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(*shape, generator=generator).requires_grad_()

    return ViewOutput(
        random(n, 3, *image),
        fields=dict(
            feats=(random(n, 4, 6, 5), random(n, 7, 3, 3)),
            cams=random(n, classes, *cam_size)))


def make_refiner(**kwargs):
    torch.manual_seed(0)
    refiner = MODELS.build(
        dict(
            type='mmwsss.PixelCorrelationModule',
            in_channels=(4, 7),
            channels=(2, 3),
            query_channels=6,
            **kwargs))
    refiner.init_weights()
    return refiner


def plain_forward(refiner, view):
    size = view.feats[0].shape[2:]

    def resized(x):
        return F.interpolate(
            x, size=size, mode='bilinear', align_corners=True)

    parts = [resized(view.image)]
    for conv, x in zip(refiner.projections, view.feats):
        parts.append(
            resized(
                torch.einsum('oi,nihw->nohw', conv.weight[:, :, 0, 0],
                             x.detach()).relu()))
    query = torch.einsum('oi,nihw->nohw', refiner.query.weight[:, :, 0, 0],
                         torch.cat(parts, dim=1))
    return dense(resized(compete(view.cams.detach())), query).float()


@pytest.mark.parametrize('cam_size', [(6, 5), (12, 9), (1, 1)])
@pytest.mark.parametrize('classes', [1, 3])
def test_module_equals_plain_formula(classes, cam_size):
    view = make_view(classes=classes, cam_size=cam_size)
    refiner = make_refiner(block_size=7)
    found = refiner(view)
    assert found.shape == (2, classes + 1, 6, 5)
    assert_close(found, plain_forward(refiner, view), rtol=1e-5, atol=1e-6)


def test_gradient_reaches_the_convolutions_only():
    view = make_view()
    refiner = make_refiner()
    other = copy.deepcopy(refiner)
    weight = torch.randn(2, 4, 6, 5)
    (refiner(view) * weight).sum().backward()
    for name in ('feats', 'cams'):
        value = view.fields[name]
        for x in value if isinstance(value, tuple) else (value, ):
            assert x.grad is None
    plain_view = ViewOutput(view.image.detach(), fields=view.fields)
    (plain_forward(other, plain_view) * weight).sum().backward()
    for found, expected in zip(refiner.parameters(), other.parameters()):
        assert expected.grad.abs().max() > 1e-4
        assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_class_ids_pick_planes_after_all_classes_competed():
    view = make_view(n=3, classes=4)
    refiner = make_refiner()
    ids = torch.tensor([[2, 0], [3, -1], [-1, -1]])
    found, every = refiner(view, ids), refiner(view)
    assert found.shape == (3, 2, 6, 5)
    for i, row in enumerate(ids.tolist()):
        for j, c in enumerate(row):
            expected = torch.zeros(6, 5) if c < 0 else every[i, c + 1]
            assert_close(found[i, j], expected, rtol=1e-5, atol=1e-7)
    none = refiner(view, torch.zeros(3, 0, dtype=torch.int64))
    assert none.shape == (3, 0, 6, 5)


def test_without_image():
    view = make_view()
    refiner = make_refiner(use_image=False)
    expected = refiner(view)
    assert refiner.query.in_channels == 5
    view.image = torch.randn_like(view.image)
    assert_close(refiner(view), expected, rtol=0, atol=0)


def test_single_map_of_a_transformer():
    refiner = MODELS.build(
        dict(
            type='mmwsss.PixelCorrelationModule',
            in_channels=(7, ),
            channels=(2, ),
            in_index=(-1, )))
    view = make_view()
    found = refiner(view)
    assert found.shape == (2, 4, 3, 3)
    assert refiner.query.weight.shape == (192, 5, 1, 1)


def test_bfloat16_autocast_of_the_module():
    view = make_view()
    refiner = make_refiner()
    expected = refiner(view)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = refiner(view)
        found.sum().backward()
    assert found.dtype == torch.float32
    assert_close(found, expected, rtol=0, atol=0.05)
    assert refiner.query.weight.grad.isfinite().all()


def test_names_and_initialisation():
    torch.manual_seed(0)
    refiner = PixelCorrelationModule()
    refiner.init_weights()
    shapes = {k: tuple(v.shape) for k, v in refiner.state_dict().items()}
    assert shapes == {
        'projections.0.weight': (64, 512, 1, 1),
        'projections.1.weight': (128, 1024, 1, 1),
        'query.weight': (192, 195, 1, 1)
    }
    for conv in refiner.projections:
        std = math.sqrt(2 / conv.in_channels)
        assert conv.weight.std().item() == pytest.approx(std, rel=0.02)
        # A normal distribution has tails, a uniform one ends at 1.7 std.
        assert conv.weight.abs().max() > 3 * std
    bound = 4 * math.sqrt(6 / (195 + 192))
    assert 0.99 * bound < refiner.query.weight.abs().max() <= bound
    assert refiner.query.weight.std().item() == pytest.approx(
        bound / math.sqrt(3), rel=0.02)


def test_refuses_what_the_backbone_does_not_give():
    with pytest.raises(ValueError, match='one entry per feature map'):
        PixelCorrelationModule(in_channels=(4, 7), channels=(2, 3),
                               in_index=(0, ))
    with pytest.raises(ValueError, match='one entry per feature map'):
        PixelCorrelationModule((), (), ())
    view = make_view()
    for kwargs in (dict(in_index=(0, 2)), dict(in_index=(1, 0))):
        refiner = make_refiner(**kwargs)
        with pytest.raises(ValueError, match=r'gives 2 with \(4, 7\)'):
            refiner(view)
