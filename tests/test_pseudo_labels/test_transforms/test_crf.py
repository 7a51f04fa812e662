"""CRF scores: what goes into the dense CRF and what comes out."""
import numpy as np
import pytest
import torch

from mmwsss.pseudo_labels.pamr import PAMR
from mmwsss.pseudo_labels.transforms import CRFScores, PAMRCams
from mmwsss.pseudo_labels.transforms.crf import add_background, rgb_image
from mmwsss.registry import TRANSFORMS

SIZE = (12, 15)


def sample(k=2, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*SIZE, 3)).astype(dtype)
    return dict(
        img_id='a',
        img=image,
        cams=rng.random((k, *SIZE)).astype(np.float32),
        class_ids=np.arange(k) * 2)


class Recorder:
    """In place of the CRF: keeps its input, returns softmax(-energy)."""

    def __call__(self, image, unaries):
        self.image, self.unaries = image, unaries
        powers = [np.exp(-u) for u in unaries]
        return [p / p.sum(axis=0) for p in powers]


def test_background():
    cams = sample()['cams']
    planes = add_background(cams, 4)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(
        planes[0], (1 - np.maximum(cams[0], cams[1]))**4, rtol=1e-6)
    assert np.array_equal(planes[1:], cams)
    # Without any class the background is certain.
    assert (add_background(cams[:0], 4) == np.ones((1, *SIZE))).all()


def test_energies():
    transform = TRANSFORMS.build(dict(type='mmwsss.CRFScores', alphas=(4, 24)))
    transform.crf = Recorder()
    results = sample()
    results['cams'][:, 0, 0] = (0, 1)
    results = transform(results)
    cams = results['cams']
    # RGB, as the lattice of the published code sees it.
    assert np.array_equal(transform.crf.image, results['img'][..., ::-1])
    for alpha, energy in zip((4, 24), transform.crf.unaries):
        background = (1 - cams.max(axis=0))**alpha
        probs = np.stack((background, *cams))
        np.testing.assert_allclose(
            energy, -np.log(np.maximum(probs, 1e-5)), rtol=1e-4, atol=1e-5)
    assert list(results['crf_scores']) == [4, 24]


def test_scores():
    scores = CRFScores(alphas=(4, 24))(sample())['crf_scores']
    for planes in scores.values():
        assert planes.shape == (3, *SIZE) and planes.dtype == np.float32
        np.testing.assert_allclose(planes.sum(axis=0), 1, atol=1e-5)
    # The higher exponent leaves the background less.
    assert (scores[24][0] <= scores[4][0] + 1e-6).all()
    assert scores[24][0].mean() < scores[4][0].mean()


def test_one_lattice_equals_two():
    both = CRFScores(alphas=(4, 24))(sample())['crf_scores']
    for alpha in (4, 24):
        alone = CRFScores(alphas=(alpha, ))(sample())['crf_scores']
        np.testing.assert_allclose(alone[alpha], both[alpha], atol=1e-6)


def test_class_less():
    scores = CRFScores()(sample(0))['crf_scores']
    for planes in scores.values():
        assert planes.shape == (1, *SIZE) and (planes == 1).all()


def test_settings_reach_the_crf():
    weak = CRFScores(alphas=(4, ), crf=dict(num_iters=1))(sample())
    strong = CRFScores(alphas=(4, ))(sample())
    assert np.abs(weak['crf_scores'][4] - strong['crf_scores'][4]).max() > .01


@pytest.mark.parametrize('alphas', [(), (4, 4), (0, 4), (-1, )])
def test_bad_exponents(alphas):
    with pytest.raises(ValueError, match='exponents'):
        CRFScores(alphas=alphas)


def test_float_image():
    one = rgb_image(sample())
    other = rgb_image(sample(dtype=np.float32))
    assert other.dtype == np.uint8 and np.array_equal(one, other)
    assert other.flags['C_CONTIGUOUS']


def test_bad_samples():
    for key in ('img', 'cams'):
        results = sample()
        del results[key]
        with pytest.raises(KeyError, match=f"Image a: '{key}' is missing"):
            CRFScores()(results)
    results = sample()
    results['cams'] = results['cams'][:, 1:]
    with pytest.raises(ValueError, match='Image a is .* upsample=True'):
        CRFScores()(results)
    results = sample()
    results['cams'][0, 3, 3] = np.nan
    with pytest.raises(ValueError):
        CRFScores()(results)


def test_pamr():
    results = sample()
    before = results['cams'].copy()
    out = TRANSFORMS.build(dict(type='mmwsss.PAMRCams', num_iters=3))(results)
    image = torch.from_numpy(
        np.ascontiguousarray(results['img'][..., ::-1].transpose(2, 0, 1)))
    plain = PAMR(num_iters=3)(image[None].float(),
                              torch.from_numpy(before)[None])[0]
    np.testing.assert_allclose(out['cams'], plain.numpy(), atol=1e-6)
    assert np.abs(out['cams'] - before).max() > .01
    assert out['cams'].dtype == np.float32
    assert out['cams'].min() >= 0 and out['cams'].max() <= 1
    out = PAMRCams(num_iters=3)(sample(0))
    assert out['cams'].shape == (0, *SIZE)


def test_par():
    results = sample()
    results['cams'][0] = .97  # as it is, PAR would take this beyond 1
    results['cams'][1] *= .5
    maps = torch.from_numpy(results['cams'].copy())[None]
    image = torch.from_numpy(
        np.ascontiguousarray(results['img'][..., ::-1].transpose(2, 0, 1)))
    out = PAMRCams(kernel='par')(results)['cams']
    np.testing.assert_allclose(out[0], .97, atol=1e-5)
    plain = PAMR(kernel='par')(image[None].float(), maps)[0] / 1.01**10
    np.testing.assert_allclose(out, plain.numpy(), atol=1e-6)
