"""Labels by refined background scores, image by image and pixel by pixel."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.pseudo_labels import PAMR, refined_labels
from mmwsss.registry import MODELS

IDS = torch.tensor([[0, 4], [2, -1], [-1, -1]])


def a_batch(h=10, w=14):
    torch.manual_seed(0)
    cams = F.interpolate(
        torch.rand(3, 2, 3, 4), size=(h, w), mode='bilinear')
    cams[IDS < 0] = 5.  # Nobody looks at padding.
    image = torch.randint(0, 256, (3, 3, h, w), dtype=torch.uint8)
    return cams, image


def smaller(x, size):
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)


def plain(cams, ids, image, refine, high, low, factor):
    """ToCo's way: every image alone, one threshold after the other."""
    h, w = cams.shape[-2:]
    size = int(h * factor), int(w * factor)
    found = []
    for maps, classes, picture in zip(cams, ids.tolist(), image.float()):
        classes = [c for c in classes if c >= 0]
        winners = []
        for threshold in (high, low):
            planes = [torch.full((h, w), threshold)]
            planes += [maps[i] for i in range(len(classes))]
            planes = smaller(torch.stack(planes)[None], size)[0]
            total = sum(p.exp() for p in planes)
            probs = torch.stack([p.exp() / total for p in planes])[None]
            if refine is not None:
                probs = refine(smaller(picture[None], size), probs)
            probs = smaller(probs, (h, w))[0]
            winners.append([[([0] + [c + 1 for c in classes])[
                max(range(len(probs)), key=lambda k, y=y, x=x, p=probs:
                    float(p[k, y, x]))] for x in range(w)]
                for y in range(h)])
        found.append([[
            up if up else (0 if not down else 255)
            for up, down in zip(*rows)] for rows in zip(*winners)])
    return torch.tensor(found)


@pytest.mark.parametrize('factor', [0.5, 1.])
@pytest.mark.parametrize('refined', [True, False])
def test_labels(refined, factor):
    cams, image = a_batch()
    refine = PAMR(2, (1, 2), 'par') if refined else None
    labels = refined_labels(cams, IDS, image, refine, 0.6, 0.4, factor)
    expected = plain(cams, IDS, image, refine, 0.6, 0.4, factor)
    assert labels.dtype == torch.int64 and torch.equal(labels, expected)
    assert set(labels[0].unique().tolist()) == {0, 1, 5, 255}
    assert set(labels[1].unique().tolist()) >= {3, 255}
    assert not labels[2].any()


def test_refinement_changes_labels():
    cams, image = a_batch()
    refined, raw = (
        refined_labels(cams, IDS, image, refine, 0.6, 0.4)
        for refine in (PAMR(2, (1, 2), 'par'), None))
    assert 0 < (refined != raw).float().mean() < 0.5


def test_without_refinement_it_is_two_thresholds():
    cams, image = a_batch()
    labels = refined_labels(cams[:1], IDS[:1], image[:1], None, 0.6, 0.4, 1.)
    for y in range(10):
        for x in range(14):
            scores = cams[0, :, y, x].tolist()
            best = max(scores)
            expected = 255 if 0.4 < best <= 0.6 else 0
            if best > 0.6:
                expected = (1, 5)[scores.index(best)]
            assert labels[0, y, x] == expected


def test_no_image_has_a_class():
    cams, image = a_batch()
    labels = refined_labels(cams[:, :0], IDS[:, :0], image)
    assert labels.shape == (3, 10, 14) and not labels.any()


def test_module():
    cams, image = a_batch()
    maker = MODELS.build(
        dict(
            type='mmwsss.RefinedLabels',
            fg_threshold=0.6,
            bg_threshold=0.4,
            refiner=dict(
                type='mmwsss.PAMR', kernel='par', num_iters=2,
                dilations=(1, 2))))
    saliency = torch.rand(3, 10, 14)
    with torch.autocast('cpu', torch.bfloat16):
        labels, after = maker(cams, IDS, saliency, image=image)
    assert after is saliency
    assert torch.equal(
        labels,
        refined_labels(cams, IDS, image, PAMR(2, (1, 2), 'par'), 0.6, 0.4))
    # An image of another size is brought to that of the maps.
    large = F.interpolate(image.float(), scale_factor=2)
    again, _ = maker(cams, IDS, image=large)
    assert (again == labels).float().mean() > 0.9
    with pytest.raises(ValueError, match='as many images'):
        maker(cams, IDS, image=image[:2])
    assert 'fg_threshold=0.6' in repr(maker)


@pytest.mark.parametrize('settings, message', [
    (dict(fg_threshold=0.2), 'bg_threshold .0.25. must lie in'),
    (dict(scale_factor=0.), 'scale_factor is 0.0'),
    (dict(scale_factor=math.inf), 'scale_factor is inf'),
])
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='mmwsss.RefinedLabels', **settings))


def test_probabilities_of_constant_maps():
    """A threshold that goes through the softmax is still that threshold."""
    image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    ids = torch.tensor([[1]])
    found = [
        int(refined_labels(torch.full((1, 1, 4, 4), level), ids, image,
                           PAMR(3, (1, 2), 'par'))[0, 0, 0])
        for level in (0.2, 0.3, 0.65, 0.75)
    ]
    assert found == [0, 255, 255, 2]
    assert_close(PAMR(3, (1, 2), 'par').gain, 1.01**3)
