"""Energies, both backends, and what happens without pydensecrf."""
import pickle
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose, assert_array_equal

from mmwsss.pseudo_labels import DenseCRF, dense_crf
from mmwsss.pseudo_labels.dense_crf import unary_from_labels, unary_from_probs
from mmwsss.registry import MODELS


@pytest.fixture(params=['pydensecrf', 'torch'])
def backend(request):
    if request.param == 'pydensecrf':
        pytest.importorskip('pydensecrf')
    return request.param


@pytest.fixture
def without_pydensecrf(monkeypatch):
    """As if it were not installed."""
    for name in ('pydensecrf', 'pydensecrf.densecrf'):
        monkeypatch.setitem(sys.modules, name, None)
    dense_crf._warn_once.cache_clear()


def picture(height=40, width=60, seed=0):
    """A bright disc on a dark, noisy ground, and whether a pixel is in it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2)**2 + (x - width / 2)**2 < (height / 3)**2
    image = np.where(inside[..., None], (200, 150, 60), (40, 60, 90))
    image = image + rng.normal(0, 8, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), inside


def energies(num_labels, height=40, width=60, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(num_labels), (height, width))
    return unary_from_probs(probs.transpose(2, 0, 1))


def test_unary_from_probs():
    probs = np.array([[[0., 0.25]], [[1., 0.75]]])
    expected = [[[-np.log(1e-5), -np.log(0.25)]], [[0, -np.log(0.75)]]]
    found = unary_from_probs(probs)
    assert found.dtype == np.float32
    assert_allclose(found, expected, rtol=1e-6)
    assert_allclose(unary_from_probs(probs, 0.1)[0, 0, 0], -np.log(0.1))


def test_unary_from_labels():
    label = np.array([[0, 2], [1, 0]])
    found = unary_from_labels(label, 3, 0.7)
    assert found.shape == (3, 2, 2) and found.dtype == np.float32
    for k in range(3):
        for y in range(2):
            for x in range(2):
                prob = 0.7 if label[y, x] == k else 0.15
                assert_allclose(found[k, y, x], -np.log(prob), rtol=1e-6)
    only = unary_from_labels(np.zeros((2, 3), np.uint8), 1, 0.7)
    assert only.shape == (1, 2, 3) and np.isfinite(only).all()


def test_unaries_equal_pydensecrf():
    utils = pytest.importorskip('pydensecrf.utils')
    label = np.random.default_rng(0).integers(0, 4, (5, 6))
    theirs = utils.unary_from_labels(label, 4, 0.7, zero_unsure=False)
    ours = unary_from_labels(label, 4, 0.7).reshape(4, -1)
    assert_allclose(ours, theirs, rtol=1e-6)
    probs = np.random.default_rng(0).random((3, 5, 6)) * 1.2
    theirs = utils.unary_from_softmax(probs.astype(np.float32))
    assert_allclose(unary_from_probs(probs).reshape(3, -1), theirs, atol=1e-6)


@pytest.mark.parametrize('label,num_labels,gt_prob,match', [
    ([[0, 3]], 3, 0.7, 'only 0..2'),
    ([[0, 255]], 21, 0.7, 'ignored'),
    ([[-1, 0]], 3, 0.7, 'only 0..2'),
    ([[0, 1]], 3, 1., 'between'),
])
def test_unary_from_labels_refuses(label, num_labels, gt_prob, match):
    with pytest.raises(ValueError, match=match):
        unary_from_labels(np.array(label), num_labels, gt_prob)


def test_cleans_a_noisy_mask(backend):
    image, inside = picture()
    rng = np.random.default_rng(1)
    noisy = inside ^ (rng.random(inside.shape) < 0.2)
    q = DenseCRF(backend=backend)(
        image, unary_from_labels(noisy.astype(int), 2, 0.7))
    assert q.shape == (2, 40, 60) and q.dtype == np.float32
    assert_allclose(q.sum(0), 1, atol=1e-5)
    assert (q.argmax(0) == inside).mean() > 0.99


def test_no_steps_is_the_unary(backend):
    image, _ = picture()
    unary = energies(3)
    q = DenseCRF(num_iters=0, backend=backend)(image, unary)
    expected = np.exp(-unary) / np.exp(-unary).sum(0)
    assert_allclose(q, expected, atol=1e-6)


def test_zero_weights_are_the_unary(backend):
    image, _ = picture()
    unary = energies(3)
    crf = DenseCRF(gaussian_compat=0, bilateral_compat=0, backend=backend)
    expected = np.exp(-unary) / np.exp(-unary).sum(0)
    assert_allclose(crf(image, unary), expected, atol=1e-6)


def test_parameters_reach_their_kernel(backend):
    """Without colour differences both kernels smooth; with, one does not."""
    image, inside = picture(24, 30)
    image = np.where(inside[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    unary = energies(2, 24, 30)
    # Only the bilateral kernel: the colours do not mix.
    apart = DenseCRF(5, 3, 0, 80, 1, 10, backend)(image, unary)
    changed = unary.copy()
    changed[0][~inside] += 5
    again = DenseCRF(5, 3, 0, 80, 1, 10, backend)(image, changed)
    assert_allclose(apart[:, inside], again[:, inside], atol=1e-5)
    # A wide kernel over colours mixes them.
    mixed = DenseCRF(5, 3, 0, 80, 1e3, 10, backend)(image, changed)
    assert np.abs(mixed - again)[:, inside].max() > 0.1
    # So does the Gaussian one, near the edge only.
    near = DenseCRF(1, 1, 5, 80, 1, 0, backend)(image, unary)
    other = DenseCRF(1, 1, 5, 80, 1, 0, backend)(image, changed)
    moved = np.abs(near - other)[0]
    assert moved[inside].max() > 0.05 and moved[12, 15] < 1e-5


def test_shared_lattice_equals_single_calls(backend):
    image, _ = picture()
    unaries = [energies(3, seed=1), energies(3, seed=2), energies(5, seed=3),
               energies(1)]
    crf = DenseCRF(backend=backend)
    together = crf(image, unaries)
    assert isinstance(together, list)
    for unary, q in zip(unaries, together):
        assert q.shape == unary.shape
        assert_allclose(q, crf(image, unary), rtol=0, atol=1e-5)
    # Padding labels take nothing, whatever the energies.
    large, few = crf(image, [unaries[2], unaries[0] + 1e4])
    assert_allclose(few, together[0], rtol=0, atol=2e-2)
    assert_allclose(few.sum(0), 1, atol=1e-5)
    assert crf(image, []) == []


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1), (2, 2), (40, 1)])
@pytest.mark.parametrize('num_labels', [1, 2, 21])
def test_small_images(backend, shape, num_labels):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    q = DenseCRF(backend=backend)(image, energies(num_labels, *shape))
    assert q.shape == (num_labels, *shape)
    assert_allclose(q.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize('image', [
    picture()[0],
    np.zeros((40, 60, 3), np.uint8),
    np.full((40, 60, 3), 255, np.uint8),
    np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8),
    picture(1, 60)[0],
    picture(40, 1)[0],
],
                         ids=['disc', 'black', 'white', 'noise', 'row',
                              'column'])
@pytest.mark.parametrize('params', [(10, 3, 3, 80, 13, 10),
                                    (10, 3, 3, 50, 5, 10),
                                    (20, 3, 3, 83, 5, 4),
                                    (10, 1, 3, 64, 3, 4)])
def test_backends_agree(image, params):
    pytest.importorskip('pydensecrf')
    unary = energies(4, *image.shape[:2])
    ours = DenseCRF(*params, 'torch')(image, unary)
    theirs = DenseCRF(*params, 'pydensecrf')(image, unary)
    assert_allclose(ours, theirs, rtol=0, atol=1e-3)
    assert (ours.argmax(0) == theirs.argmax(0)).mean() > 0.99


def test_memory_layout_does_not_matter(backend):
    image, _ = picture()
    unary = energies(3)
    crf = DenseCRF(backend=backend)
    expected = crf(image, unary)
    strided = np.asfortranarray(unary.astype(np.float64))
    mirrored = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    assert_array_equal(crf(mirrored, strided), expected)
    # Inputs are left alone, and the result is its own.
    before = unary.copy()
    crf(image, unary)[:] = 0
    assert_array_equal(unary, before)


def test_colour_order_does_not_matter(backend):
    image, _ = picture()
    unary = energies(3)
    crf = DenseCRF(backend=backend)
    assert_allclose(
        crf(image[..., ::-1], unary), crf(image, unary), rtol=0, atol=0.02)


def test_refuses(backend):
    image, _ = picture()
    unary = energies(3)
    crf = DenseCRF(backend=backend)
    for value in (np.nan, np.inf):
        broken = unary.copy()
        broken[1, 2, 3] = value
        with pytest.raises(ValueError, match='NaN or infinity'):
            crf(image, [unary, broken])
    with pytest.raises(ValueError, match='40 x 60'):
        crf(image, unary[:, :, :-1])
    with pytest.raises(ValueError, match='one label at least'):
        crf(image, unary[:0])
    with pytest.raises(ValueError, match='uint8'):
        crf(image.astype(np.float32), unary)
    with pytest.raises(ValueError, match='uint8'):
        crf(image[..., 0], unary)
    with pytest.raises(ValueError, match='empty'):
        crf(image[:0], unary[:, :0])


@pytest.mark.parametrize('args,match', [
    (dict(bilateral_srgb=0), 'bilateral_srgb'),
    (dict(gaussian_sxy=-1), 'gaussian_sxy'),
    (dict(num_iters=-1), 'num_iters'),
    (dict(backend='cuda'), 'not one of'),
])
def test_refuses_parameters(args, match):
    with pytest.raises(ValueError, match=match):
        DenseCRF(**args)


def test_falls_back_and_says_so_once(without_pydensecrf, monkeypatch):
    said = []
    monkeypatch.setattr(dense_crf, 'print_log',
                        lambda message, **kwargs: said.append(message))
    image, _ = picture()
    for _ in range(2):
        crf = DenseCRF()
        assert crf.backend == 'torch'
        assert crf(image, energies(2)).shape == (2, 40, 60)
    assert len(said) == 1 and 'pip install pydensecrf2' in said[0]
    DenseCRF(backend='torch')
    assert len(said) == 1


def test_pydensecrf_is_required_when_named(without_pydensecrf):
    with pytest.raises(ImportError) as info:
        DenseCRF(backend='pydensecrf')
    assert 'pip install pydensecrf2' in str(info.value)
    assert 'backend=\'torch\'' in str(info.value)


def test_registered_and_picklable(backend):
    crf = MODELS.build(dict(type='mmwsss.DenseCRF', backend=backend))
    image, _ = picture()
    copy = pickle.loads(pickle.dumps(crf))
    assert_array_equal(copy(image, energies(2)), crf(image, energies(2)))


def test_after_the_probabilities_of_a_model(backend):
    """DenseCRFRefiner: image by image, maps brought to its size."""
    refiner = MODELS.build(
        dict(type='mmwsss.DenseCRFRefiner', num_iters=3, backend=backend))
    assert not list(refiner.parameters())
    images = [picture(seed=i)[0] for i in (0, 1)]
    batch = torch.stack([
        torch.from_numpy(image).permute(2, 0, 1).float() for image in images
    ])
    probs = torch.rand(2, 3, 20, 30).softmax(dim=1)
    # Undoing a normalisation leaves grey levels only nearly whole.
    refined = refiner(batch + 0.3, probs)
    assert refined.shape == (2, 3, 40, 60)
    assert refined.dtype == torch.float32
    large = F.interpolate(probs, (40, 60), mode='bilinear').numpy()
    crf = DenseCRF(num_iters=3, backend=backend)
    for one, image, planes in zip(refined, images, large):
        assert_allclose(
            one, crf(image, unary_from_probs(planes)), atol=1e-5)
