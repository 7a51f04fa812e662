"""ToCo's contrast of crops and images against plain loops."""
import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.regularizers.local_crop_contrast import (
    TokenProjection,
    crop_contrast,
    cut_crops,
    draw_corners,
    region_map,
    second_global_view,
)
from mmwsss.models.utils.image_draws import image_draws
from mmwsss.registry import MODELS
from mmwsss.structures import FusedCAMs, ViewOutput
from mmwsss.structures.view_output import ViewPair


def plain(students, teachers, positive, temperature, always):
    """As the equation says, exponentials and all."""
    found = []
    for views, globals_, flags in zip(students, teachers, positive.tolist()):
        total = 0.
        for p in globals_:
            powers = [math.exp(float(p @ q) / temperature) for q in views]
            rest = sum(e for e, flag in zip(powers, flags) if not flag)
            for e, flag in zip(powers, flags):
                if flag:
                    total -= math.log(e / (e + rest + 1e-4))
            if always:
                total -= math.log(1 / (1 + rest + 1e-4))
        found.append(total / len(globals_) / (sum(flags) + 1e-4))
    return found


def views(seed=0, n=3, v=5, d=4):
    torch.manual_seed(seed)
    students, teachers = torch.randn(n, v, d), torch.randn(n, 2, d)
    positive = torch.rand(n, v) < 0.5
    positive[:, :2] = True
    positive[0] = True  # Nothing is negative.
    positive[1:, 3] = False
    return students, teachers, positive


@pytest.mark.parametrize('always', [True, False])
@pytest.mark.parametrize('temperature', [0.5, 2.])
def test_contrast_follows_the_formula(temperature, always):
    students, teachers, positive = views()
    found = crop_contrast(students, teachers, positive, temperature, always)
    expected = plain(students, teachers, positive, temperature, always)
    assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)
    assert (~positive).any(dim=1).tolist() == [False, True, True]


def test_large_products_stay_finite():
    students, teachers, positive = views()
    students = (200 * students).requires_grad_()
    loss = crop_contrast(students, teachers, positive)
    assert loss.isfinite().all()
    loss.sum().backward()
    assert students.grad.isfinite().all()


def test_the_teacher_learns_nothing():
    students, teachers, positive = views()
    for x in (students, teachers):
        x.requires_grad_()
    crop_contrast(students, teachers, positive).sum().backward()
    assert students.grad.any() and teachers.grad is None


def test_regions():
    cams = torch.tensor([[[[0.1, 0.25, 0.5]], [[0., 0.2, 0.69]]],
                         [[[0.7, 0.3, 0.]], [[0., 0., 0.]]]])
    assert region_map(cams, 0.7, 0.25).tolist() == [[[0, 0, 1]],
                                                    [[2, 1, 0]]]
    assert region_map(cams[:, :0], 0.7, 0.25).tolist() == [[[0, 0, 0]]] * 2


def loop_corners(regions, draws, size):
    """The rank-th allowed position in reading order."""
    margin, (height, width) = size // 2, regions.shape[1:]
    found = []
    for area, numbers in zip(regions.tolist(), draws.tolist()):
        every = [(y, x) for y in range(height - size)
                 for x in range(width - size)]
        some = [(y, x) for y, x in every
                if area[y + margin][x + margin] < 2]
        if len(some) < len(numbers):
            some = every
        found.append([some[int(u * len(some))] for u in numbers])
    return found


def test_corners():
    torch.manual_seed(0)
    regions = torch.randint(0, 3, (3, 9, 12), dtype=torch.uint8)
    regions[1] = 2  # A class everywhere: anywhere then.
    regions[2, :, :] = 2
    regions[2, 4, 3:5] = 1  # Fewer positions than crops.
    draws = torch.rand(3, 4)
    draws[0, :2] = torch.tensor([0., 1 - 2**-24])
    rows, columns = draw_corners(regions, draws, 4)
    found = [[*zip(*pair)]
             for pair in zip(rows.tolist(), columns.tolist())]
    assert found == loop_corners(regions, draws, 4)
    # Allowed ones only, where there are enough.
    for y, x in found[0]:
        assert regions[0, y + 2, x + 2] < 2


def test_crops():
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 8, 9)
    rows, columns = torch.randint(0, 4, (2, 5)), torch.randint(0, 5, (2, 5))
    crops = cut_crops(maps, rows, columns, 4)
    for n in range(2):
        for m in range(5):
            y, x = rows[n, m], columns[n, m]
            assert torch.equal(crops[n, m], maps[n, :, y:y + 4, x:x + 4])


def test_second_global_view():
    """Of an image of coordinates: which part it shows."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, 65), torch.linspace(-1, 1, 65), indexing='ij')
    image = torch.stack((y, x, x)).repeat(6, 1, 1, 1)
    draws = torch.rand(6, 5, generator=torch.manual_seed(0))
    draws[0] = torch.tensor([1., 0.5, 0.2, 0.9, 0.7])  # All of it.
    draws[1] = torch.tensor([1., 0.5, 0.2, 0.9, 0.3])  # Mirrored.
    draws[2, 1:4] = torch.tensor([0.5, 0., 1.])
    draws[2, 4] = 1.
    parts = second_global_view(image, draws)
    assert_close(parts[0], image[0], rtol=0, atol=1e-5)
    assert_close(parts[1], image[1].flip(-1), rtol=0, atol=1e-5)
    for part, (area, ratio, *_, mirror) in zip(parts, draws.tolist()):
        height = float(part[0].max() - part[0].min()) / 2
        width = float(part[1].max() - part[1].min()) / 2
        expected = 0.4 + 0.6 * area
        sides = 3 / 4 * (16 / 9)**ratio
        if height < 0.98 and width < 0.98:
            assert height * width == pytest.approx(expected, abs=0.03)
            assert width / height == pytest.approx(sides, rel=0.03)
        rises = part[1, 0, -1] > part[1, 0, 0]
        assert bool(rises) == (mirror >= 0.5)
    # Its upper right corner.
    assert parts[2][0].min() == pytest.approx(-1, abs=0.04)
    assert parts[2][1].max() == pytest.approx(1, abs=0.04)


def test_draws_belong_to_an_image():
    both = image_draws(['a', 'b'], 4, seed=1, step=2)
    assert both.shape == (2, 4) and (both >= 0).all() and (both < 1).all()
    assert torch.equal(image_draws(['b'], 4, 1, 2), both[1:])
    for other in (image_draws(['a'], 4, 2, 2), image_draws(['a'], 4, 1, 3)):
        assert not torch.equal(other, both[:1])


def test_projection():
    torch.manual_seed(0)
    head = TokenProjection(4, 6, 5, 7)
    tokens = torch.randn(2, 3, 4)
    first, second, third = (head.layers[i] for i in (0, 2, 4))
    gelu = torch.nn.functional.gelu
    x = third(gelu(second(gelu(first(tokens)))))
    out = torch.stack([
        (x / x.norm(dim=-1, keepdim=True) *
         direction / direction.norm()).sum(-1) for direction in head.directions
    ], -1)
    assert_close(head(tokens), out)
    assert float(first.weight.detach().abs().max()) < 0.09
    assert not first.bias.any()


SMALL = dict(
    type='mmwsss.LocalCropContrast', in_channels=4, crop_size=4, num_crops=3,
    momentum=0.75,
    projection=dict(
        hidden_channels=6, bottleneck_channels=5, out_channels=7))


def build(**kwargs):
    torch.manual_seed(3)
    return MODELS.build(SMALL | kwargs)


def a_pair(names=('a', 'b', 'c'), shows=(True, True, False), seen=None):
    """A network whose class token is made of means of colours."""
    torch.manual_seed(0)
    weight = torch.randn(4, 3)

    def look(image):
        if seen is not None:
            seen.append(image)
        return SimpleNamespace(cls_token=image.mean(dim=(2, 3)) @ weight.t())

    torch.manual_seed(4)
    image, maps = torch.randn(3, 3, 12, 16), torch.rand(3, 1, 12, 16)
    maps[2] = 0
    labels = torch.tensor([[float(s), 0.] for s in shows])
    ids = torch.tensor([[0], [0], [-1]])
    rows = [('a', 'b', 'c').index(name) for name in names]
    image = image[rows]
    view = ViewOutput(
        image,
        labels[rows],
        fields=dict(
            cls_token=look(image).cls_token,
            fused_cams=FusedCAMs(ids[rows], maps[rows], maps[rows])))
    if seen is not None:
        seen.clear()
    samples = [SimpleNamespace(img_id=name) for name in names]
    return ViewPair(view, data_samples=samples, look=look)


def test_regularizer():
    seen = []
    pair, regularizer = a_pair(seen=seen), build(loss_weight=2.)
    terms = regularizer(pair)
    assert set(terms) == {'loss_crop', 'positive_crops'}
    other, crops = seen
    assert other.shape == (3, 3, 12, 16) and crops.shape == (9, 3, 4, 4)
    draws = image_draws(['a', 'b', 'c'], 8, int(regularizer.seed), 0)
    image, maps = pair.first.image, pair.first.fused_cams.auxiliary
    assert torch.equal(other, second_global_view(image, draws[:, :5]))
    corners = loop_corners(region_map(maps, 0.7, 0.25), draws[:, 5:], 4)
    losses, share = [], []
    for n in range(3):
        flags, tokens = [True, True], [
            pair.first.cls_token[n], pair.look(other[n:n + 1]).cls_token[0]]
        for m, (y, x) in enumerate(corners[n]):
            crop = image[n, :, y:y + 4, x:x + 4]
            assert torch.equal(crops[3 * n + m], crop)
            total = 0
            for value in maps[n, 0, y:y + 4, x:x + 4].flatten().tolist():
                total += 0 if value <= 0.25 else 2 if value >= 0.7 else 1
            flags.append(total / 16 > 0.2)
            tokens.append(pair.look(crop[None]).cls_token[0])
        tokens, flags = torch.stack(tokens)[None], torch.tensor([flags])
        projected = regularizer.projection(tokens)
        losses += plain(projected, projected[:, :2], flags, 0.5, True)
        share += flags[0, 2:].tolist()
    # The third image shows no class.
    assert float(terms['loss_crop']) == pytest.approx(
        2 * (losses[0] + losses[1]) / 3, rel=1e-5)
    assert float(terms['positive_crops']) == pytest.approx(
        100 * sum(share) / 9)
    assert 0 < sum(share) < 9


def test_the_share_from_which_a_crop_is_positive():
    none, every = (build(min_region=value) for value in (2., -1.))
    assert float(none(a_pair())['positive_crops']) == 0
    assert float(every(a_pair())['positive_crops']) == 100


def test_teacher_is_an_average():
    regularizer = build()
    start = copy.deepcopy(regularizer.projection.state_dict())
    # First its weights are copied, whatever it was made with.
    for value in regularizer.teacher.module.parameters():
        value.fill_(9.)
    regularizer(a_pair())
    for name, value in regularizer.teacher.module.state_dict().items():
        assert torch.equal(value, start[name]), name
    for value in regularizer.projection.parameters():
        value.data += 1.
    regularizer(a_pair())
    for name, value in regularizer.teacher.module.state_dict().items():
        assert_close(value, start[name] + 0.25)
    assert not any(p.requires_grad for p in regularizer.teacher.parameters())


def test_resumed_in_the_middle():
    whole, parts = build(), build()
    values = [float(whole(a_pair())['loss_crop']) for _ in range(3)]
    assert len(set(values)) == 3  # Each step draws anew.
    first = float(parts(a_pair())['loss_crop'])
    torch.manual_seed(7)
    resumed = MODELS.build(SMALL)
    resumed.load_state_dict(parts.state_dict())
    assert [first] + [float(resumed(a_pair())['loss_crop'])
                      for _ in range(2)] == values


def test_images_are_independent():
    """Of each other, so several processes compute what one does."""
    together = float(build()(a_pair())['loss_crop'])
    alone = [float(build()(a_pair((name, )))['loss_crop']) for name in 'abc']
    assert sum(alone) / 3 == pytest.approx(together, rel=1e-5)
    assert alone[2] == 0 and min(alone[:2]) > 0


def test_without_classes_there_is_still_a_graph():
    regularizer = build()
    loss = regularizer(a_pair(('c', )))['loss_crop']
    loss.backward()
    assert all(p.grad is not None and not p.grad.any()
               for p in regularizer.projection.parameters())


@pytest.mark.parametrize('settings, message', [
    (dict(crop_size=0), 'crop_size > 0'),
    (dict(num_crops=0), 'num_crops > 0'),
    (dict(temperature=0.), 'temperature > 0'),
    (dict(momentum=1.), 'must lie in .0.5, 1.'),
    (dict(start=-1.), 'start is a share'),
    (dict(fg_threshold=0.1), 'bg_threshold'),
])
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_other_class_tokens():
    with pytest.raises(ValueError, match='in_channels=5, but .* have 4'):
        build(in_channels=5)(a_pair())


def test_crops_as_large_as_the_image():
    with pytest.raises(ValueError, match=r'12 x 12 pixels.*\(12, 16\)'):
        build(crop_size=12)(a_pair())
