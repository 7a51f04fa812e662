"""PAMR against the formula with all neighbours written out."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mmwsss.pseudo_labels.pamr import PAMR, pamr_affinity, par_affinity
from mmwsss.registry import MODELS
from tests.fake_gpu import FakeGPU


def shifted(maps, dilations, centre):
    """(N, C, P, H, W): all shifted copies at once, by clamped indices."""
    height, width = maps.shape[-2:]
    copies = []
    for d in dilations:
        for dy in (-d, 0, d):
            for dx in (-d, 0, d):
                if dy or dx or centre:
                    y = (torch.arange(height) + dy).clamp(0, height - 1)
                    x = (torch.arange(width) + dx).clamp(0, width - 1)
                    copies.append(maps[..., y, :][..., x])
    return torch.stack(copies, dim=2)


def plain(image, maps, num_iters, dilations):
    image, maps = image.double(), maps.double()
    maps = F.interpolate(
        maps, size=image.shape[-2:], mode='bilinear', align_corners=True)
    std = shifted(image, dilations, True).std(dim=2, keepdim=True)
    difference = (image[:, :, None] - shifted(image, dilations, False)).abs()
    weights = (-difference / (1e-8 + 0.1 * std)).mean(1, keepdim=True)
    weights = weights.softmax(dim=2)
    for _ in range(num_iters):
        maps = (weights * shifted(maps, dilations, False)).sum(2)
    return maps


def plain_par(image, maps, num_iters, dilations):
    image, maps = image.double(), maps.double()
    maps = F.interpolate(
        maps, size=image.shape[-2:], mode='bilinear', align_corners=True)
    copies = shifted(image, dilations, False)
    scale = 0.3 * (copies.std(dim=2, keepdim=True) + 1e-8)
    weights = (-((image[:, :, None] - copies) / scale)**2).mean(
        1, keepdim=True).softmax(dim=2)
    distances = []
    for d in dilations:
        for dy in (-d, 0, d):
            for dx in (-d, 0, d):
                if dy or dx:
                    distances.append(math.hypot(dy, dx))
    distances = torch.tensor(distances).double()
    near = (-(distances / (0.3 * distances.std()))**2).softmax(dim=0)
    weights = weights + 0.01 * near[:, None, None]
    for _ in range(num_iters):
        maps = (weights * shifted(maps, dilations, False)).sum(2)
    return maps


def inputs(n=2, k=3, size=(17, 23), map_size=(17, 23), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (n, 3, *size), generator=generator)
    return image.float(), torch.rand(n, k, *map_size, generator=generator)


@pytest.mark.parametrize('dilations', [(1, ), (1, 2, 4, 8, 12, 24)])
@pytest.mark.parametrize('map_size', [(17, 23), (5, 7), (1, 1)])
def test_equals_plain_formula(dilations, map_size):
    image, maps = inputs(map_size=map_size)
    found = PAMR(4, dilations)(image, maps)
    assert found.dtype == torch.float32
    expected = plain(image, maps, 4, dilations).float()
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_flat_regions_with_small_steps():
    """One grey level on a flat ground: variances far below the values."""
    image = torch.full((1, 3, 12, 12), 250.)
    image[:, 0, :, 6:] = 251
    _, maps = inputs(1, 2, (12, 12), (12, 12))
    assert_close(
        PAMR(3, (1, 2))(image, maps),
        plain(image, maps, 3, (1, 2)).float(),
        rtol=1e-5,
        atol=1e-6)


def test_affinity_sums_to_one():
    image, _ = inputs()
    affinity = pamr_affinity(image, (1, 3))
    assert affinity.shape == (16, 2, 1, 17, 23)
    assert_close(affinity.sum(0), torch.ones(2, 1, 17, 23))


def test_constant_image_averages_all_neighbours():
    maps = torch.zeros(1, 1, 9, 9)
    maps[..., 4, 4] = 8.
    expected = torch.zeros(9, 9)
    expected[3:6, 3:6] = 1.
    expected[4, 4] = 0.
    found = PAMR(1, (1, ))(torch.full((1, 3, 9, 9), 7.), maps)
    assert_close(found[0, 0], expected)


def test_maps_do_not_mix():
    """Absent classes can be left out; zero maps stay zero."""
    image, maps = inputs(k=4)
    maps[:, 2] = 0
    pamr = PAMR(3)
    found = pamr(image, maps)
    assert not found[:, 2].any()
    assert_close(pamr(image, maps[:, 1:2]), found[:, 1:2])
    assert_close(pamr(image[1:], maps[1:]), found[1:])


def test_constant_maps_stay():
    image, _ = inputs()
    found = PAMR()(image, torch.ones(2, 1, 4, 4))
    assert_close(found, torch.ones(2, 1, 17, 23))


@pytest.mark.parametrize('size', [(1, 1), (1, 30), (2, 3)])
def test_images_smaller_than_the_dilations(size):
    image, maps = inputs(size=size, map_size=size)
    expected = plain(image, maps, 10, (1, 2, 4, 8, 12, 24)).float()
    assert_close(PAMR()(image, maps), expected, rtol=1e-5, atol=1e-6)


def test_no_class():
    image, _ = inputs()
    assert PAMR()(image, torch.zeros(2, 0, 4, 4)).shape == (2, 0, 17, 23)


def test_no_gradient_no_change_of_inputs_no_half_precision():
    image, maps = inputs(map_size=(5, 6))
    maps.requires_grad_()
    pamr = PAMR(2)
    expected = pamr(image, maps)
    assert not expected.requires_grad
    copy = image.clone()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert_close(pamr(image.byte(), maps), expected, rtol=0, atol=0)
    assert_close(image, copy, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_equals_cpu():
    image, maps = inputs(map_size=(5, 6))
    found = PAMR()(image.cuda(), maps.cuda()).cpu()
    assert_close(found, PAMR()(image, maps), rtol=1e-5, atol=1e-6)


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest memory block any operation returns."""
    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.size = max(self.size, out.untyped_storage().nbytes())
        return out


def test_never_one_copy_of_the_maps_per_neighbour():
    image, maps = inputs(1, 32, (40, 40), (40, 40))
    with LargestTensor() as largest:
        PAMR(1)(image, maps)
    # The maps with a border of 24 pixels.
    assert largest.size == 4 * 32 * 88 * 88


@pytest.mark.parametrize('dilations', [(), (0, 1), (-1, )])
def test_refuses_dilations(dilations):
    with pytest.raises(ValueError, match='dilations'):
        PAMR(dilations=dilations)


def test_refuses_shapes():
    image, maps = inputs()
    with pytest.raises(ValueError, match='as many maps'):
        PAMR()(image, maps[:1])
    with pytest.raises(ValueError, match='as many maps'):
        PAMR()(image, maps[0])


# ----------------------------------------------------------------------- PAR
@pytest.mark.parametrize('dilations', [(1, ), (1, 2, 4, 8, 12, 24)])
@pytest.mark.parametrize('map_size', [(17, 23), (5, 7)])
def test_par_equals_plain_formula(dilations, map_size):
    image, maps = inputs(map_size=map_size)
    found = PAMR(4, dilations, kernel='par')(image, maps)
    assert found.dtype == torch.float32
    expected = plain_par(image, maps, 4, dilations).float()
    assert_close(found, expected, rtol=1e-5, atol=1e-6)
    # The squares and their own scale make it another kernel.
    assert (found / 1.01**4 - PAMR(4, dilations)(image, maps)).abs().max() > .1


def test_par_of_flat_regions():
    image = torch.full((1, 3, 12, 12), 250.)
    image[:, 0, :, 6:] = 251
    image[..., 3, 3] = 0  # whose neighbours are all alike
    _, maps = inputs(1, 2, (12, 12), (12, 12))
    assert_close(
        PAMR(3, (1, 2), kernel='par')(image, maps),
        plain_par(image, maps, 3, (1, 2)).float(),
        rtol=1e-5,
        atol=1e-6)


def test_every_step_of_par_multiplies_by_its_weights():
    image, _ = inputs()
    affinity = par_affinity(image, (1, 3))
    assert affinity.shape == (16, 2, 1, 17, 23)
    assert_close(affinity.sum(0), torch.full((2, 1, 17, 23), 1.01))
    par = PAMR(kernel='par')
    assert par.gain == pytest.approx(1.01**10) and PAMR().gain == 1
    found = par(image, torch.ones(2, 1, 4, 4))
    assert_close(found, torch.full((2, 1, 17, 23), par.gain))


def test_kernel_in_configs():
    par = MODELS.build(dict(type='mmwsss.PAMR', num_iters=2, kernel='par'))
    image, maps = inputs()
    assert_close(par(image, maps), PAMR(2, kernel='par')(image, maps))
    with pytest.raises(ValueError, match=r"\['pamr', 'par'\], got 'parr'"):
        PAMR(kernel='parr')


@pytest.mark.parametrize('kernel', ['pamr', 'par'])
def test_a_gpu_gives_the_same_in_fewer_launches(kernel):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 20, 27), dtype=torch.uint8)
    maps = torch.rand(2, 3, 20, 27)
    model = PAMR(kernel=kernel)
    expected = model(image, maps)
    with FakeGPU() as gpu, gpu.counting() as counts:
        found = model(image.to(gpu.device), maps.to(gpu.device)).cpu()
    assert_close(found, expected, rtol=1e-5, atol=1e-6)
    # One neighbour after the other it were 1,000.
    assert counts.num_launches <= 60, counts.report()
