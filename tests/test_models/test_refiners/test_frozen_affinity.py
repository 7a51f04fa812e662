"""Affinities of frozen networks against loops over pairs of positions."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mmwsss.models.refiners.frozen_affinity import (
    FrozenAffinity,
    cosine_affinity,
    cosine_product,
    sinkhorn_affinity,
)
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest, ViewOutput
from tests.test_models.frozen_builders import (
    pictures,
    plain_features,
    toy_network,
    vit_network,
)


def centred_units(features):
    """(P, D) unit vectors of one image, position by position."""
    flat = features.double().flatten(1).numpy()
    mean = flat.sum(axis=1) / flat.shape[1]
    units = []
    for p in range(flat.shape[1]):
        vector = flat[:, p] - mean
        units.append(vector / max(np.sqrt((vector**2).sum()), 1e-12))
    return np.array(units)


def loop_matrix(features, power):
    """A_ij = relu(x_i . x_j)^power, pair by pair."""
    units = centred_units(features)
    positions = len(units)
    matrix = np.zeros((positions, positions))
    for i in range(positions):
        for j in range(positions):
            matrix[i, j] = max(float((units[i] * units[j]).sum()), 0)**power
    return matrix


def loop_cosine(maps, features, power, steps):
    """One image: maps (K, h, w), features (D, h, w)."""
    matrix = loop_matrix(features, power)
    flat = maps.double().flatten(1).numpy()
    for _ in range(steps):
        out = np.zeros_like(flat)
        for k in range(len(flat)):
            for j in range(len(matrix)):
                total = weight = 0.
                for i in range(len(matrix)):
                    total += flat[k, i] * matrix[i, j]
                    weight += matrix[i, j]
                out[k, j] = total / weight
        flat = out
    return torch.from_numpy(flat).float().unflatten(1, maps.shape[1:])


def loop_sinkhorn(maps, matrix):
    """CLIP-ES' three normalisations, made symmetric and squared."""
    t = matrix.copy()
    for _ in range(3):
        for j in range(len(t)):
            t[:, j] /= t[:, j].sum()
        for i in range(len(t)):
            t[i] /= t[i].sum()
    t = (t + t.T) / 2
    t = t @ t
    flat = maps.double().flatten(1).numpy()
    out = np.zeros_like(flat)
    for k in range(len(flat)):
        for j in range(len(t)):
            for i in range(len(t)):
                out[k, j] += t[j, i] * flat[k, i]
    return torch.from_numpy(out).float().unflatten(1, maps.shape[1:])


@pytest.mark.parametrize('power, steps', [(1, 1), (2, 1), (3, 1), (2, 2),
                                          (1.5, 1)])
def test_cosine(power, steps):
    torch.manual_seed(0)
    maps, features = torch.rand(2, 3, 4, 5), torch.randn(2, 6, 4, 5) + 1
    found = cosine_affinity(maps, features, power, steps)
    for n in range(2):
        assert_close(
            found[n],
            loop_cosine(maps[n], features[n], power, steps),
            rtol=1e-4,
            atol=1e-5)


@pytest.mark.parametrize('kernel', ['cosine', 'sinkhorn'])
def test_any_block_size(tmp_path, kernel):
    network = toy_network(tmp_path)
    image, maps = pictures(2, 3, 16, 20), torch.rand(2, 3, 4, 5)
    results = [
        FrozenAffinity(network, kernel, block_size=size).refine_maps(
            image, maps) for size in (None, 1, 3, 7, 19, 20, 1000)
    ]
    for result in results[1:]:
        assert_close(result, results[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match='block_size is 0'):
        FrozenAffinity(
            network, kernel, block_size=0).refine_maps(image, maps)


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.size = max(self.size, out.numel())
        return out


def test_memory_is_linear():
    """64 x 64 positions: 17 million pairs, never more than 4 million."""
    torch.manual_seed(0)
    maps, features = torch.rand(1, 2, 64, 64), torch.randn(1, 4, 64, 64)
    with LargestTensor() as largest:
        cosine_affinity(maps, features)
    assert largest.size <= 16 * 2**20 // 4 < 64**4 // 3


@pytest.mark.slow
def test_memory_at_128():
    maps, features = torch.rand(1, 2, 128, 128), torch.randn(1, 4, 128, 128)
    with LargestTensor() as largest:
        found = cosine_affinity(maps, features)
    assert largest.size <= 16 * 2**20 // 4
    # A few positions by hand.
    flat = features.flatten(2)[0].double()
    unit = F.normalize(flat - flat.mean(1, keepdim=True), dim=0)
    for j in (0, 777, 128 * 128 - 1):
        weight = (unit.T @ unit[:, j]).relu().square()
        expected = (maps.flatten(2)[0].double() * weight).sum(1) / weight.sum()
        assert_close(found.flatten(2)[0, :, j], expected.float())


def test_sinkhorn_on_cosines(tmp_path):
    network = toy_network(tmp_path)
    image, maps = pictures(2, 3, 12, 16), torch.rand(2, 3, 3, 4)
    for power in (1, 2):
        found = FrozenAffinity(
            network, 'sinkhorn', power=power).refine_maps(image, maps)
        features = plain_features(network, image)
        for n in range(2):
            assert_close(
                found[n],
                loop_sinkhorn(maps[n], loop_matrix(features[n], power)),
                rtol=1e-4,
                atol=1e-5)


def test_sinkhorn_with_a_matrix_that_is_not_symmetric():
    torch.manual_seed(0)
    maps, matrix = torch.rand(1, 2, 2, 3), torch.rand(1, 6, 6)
    assert_close(
        sinkhorn_affinity(maps, matrix)[0],
        loop_sinkhorn(maps[0], matrix[0].double().numpy()),
        rtol=1e-5,
        atol=1e-6)


@pytest.mark.parametrize('steps', [1, 2])
def test_attention(tmp_path, steps):
    network = vit_network(tmp_path)
    image, maps = pictures(2, 3, 24, 32), torch.rand(2, 3, 3, 4)
    found = FrozenAffinity(
        network, 'attention', steps=steps).refine_maps(image, maps)
    vit = MODELS.build(network['backbone'])
    vit.load_state_dict(
        torch.load(
            network['backbone']['init_cfg']['checkpoint'], weights_only=True))
    vit.eval()
    mean, std = (torch.tensor(v).view(-1, 1, 1)
                 for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    with torch.no_grad():
        blocks = vit.forward_view(
            (image - mean) / std,
            AttentionRequest(matrices='heads'))['attentions']
    for n in range(2):
        flat = maps[n].flatten(1)
        for _ in range(steps):
            out = torch.zeros_like(flat)
            for j in range(12):
                row = sum(
                    block[n, head, 1 + j, 1:] for block in blocks
                    for head in range(3))
                for k in range(3):
                    out[k, j] = (flat[k] * row).sum() / row.sum()
            flat = out
        assert_close(found[n].flatten(1), flat, rtol=1e-4, atol=1e-5)


def test_attention_needs_a_transformer(tmp_path):
    refiner = FrozenAffinity(toy_network(tmp_path), 'attention')
    with pytest.raises(ValueError, match='mmwsss.AttentionViT.*ToyFrozenNet'):
        refiner.refine_maps(pictures(1, 3, 8, 8), torch.rand(1, 1, 2, 2))


@pytest.mark.parametrize('kernel', ['cosine', 'sinkhorn', 'attention'])
def test_odd_maps(tmp_path, kernel):
    refiner = FrozenAffinity(vit_network(tmp_path), kernel)
    image = pictures(1, 3, 24, 32)
    # No maps, and maps of nothing.
    assert refiner.refine_maps(image, torch.rand(1, 0, 3, 4)).shape == (
        1, 0, 3, 4)
    assert refiner.refine_maps(image, torch.rand(1, 0, 9, 9)).shape == (
        1, 0, 3, 4)
    assert not refiner.refine_maps(image, torch.zeros(1, 2, 3, 4)).any()
    # Of another size: averaged where they are finer, interpolated else.
    fine = torch.rand(1, 2, 24, 32)
    small = F.interpolate(fine, (3, 4), mode='bilinear', antialias=True)
    assert_close(
        refiner.refine_maps(image, fine), refiner.refine_maps(image, small))
    coarse = torch.rand(1, 2, 2, 2)
    large = F.interpolate(coarse, (3, 4), mode='bilinear')
    assert_close(
        refiner.refine_maps(image, coarse), refiner.refine_maps(image, large))
    # Weights of a mean: constant maps stay what they are.
    constant = refiner.refine_maps(image, torch.full((1, 1, 3, 4), .7))
    assert_close(constant, torch.full((1, 1, 3, 4), .7), rtol=.05, atol=0)


@pytest.mark.parametrize('kernel', ['cosine', 'sinkhorn'])
def test_an_image_without_anything_to_see(tmp_path, kernel):
    """All positions are alike, so centred features are zero."""
    refiner = FrozenAffinity(toy_network(tmp_path), kernel)
    maps = torch.rand(1, 2, 4, 4)
    found = refiner.refine_maps(torch.full((1, 3, 16, 16), 90.), maps)
    assert found.isfinite().all()
    assert_close(found, maps)


def test_a_position_like_no_other():
    """It keeps what it has; the others average among themselves."""
    features = torch.tensor([[1., 1, -1, -1, 0], [1, 1, 1, 1, 1]])
    features = features[None, :, None]  # Centred, the last one is zero.
    maps = torch.tensor([1., 3, 5, 7, 9])[None, None, None]
    found = cosine_affinity(maps, features)
    assert_close(found[0, 0, 0], torch.tensor([2., 2, 6, 6, 9]))


def test_shapes_that_do_not_fit():
    for maps, features in (((1, 2, 3, 4), (1, 2, 4, 3)),
                           ((2, 2, 3, 4), (1, 2, 3, 4)),
                           ((2, 3, 4), (2, 2, 3, 4))):
        with pytest.raises(ValueError, match='N, K, h, w'):
            cosine_affinity(torch.rand(maps), torch.rand(features))


@pytest.mark.parametrize('kwargs, match', [
    (dict(kernel='dot'), "kernel is 'dot'"), (dict(power=0), 'power > 0'),
    (dict(power=-1), 'power > 0'), (dict(steps=0), 'steps >= 1')])
def test_bad_settings(tmp_path, kwargs, match):
    with pytest.raises(ValueError, match=match):
        FrozenAffinity(toy_network(tmp_path), **kwargs)


@pytest.mark.parametrize('kernel', ['cosine', 'sinkhorn', 'attention'])
def test_autocast_changes_nothing(tmp_path, kernel):
    refiner = FrozenAffinity(vit_network(tmp_path), kernel)
    image, maps = pictures(1, 3, 24, 32), torch.rand(1, 2, 3, 4)
    plain = refiner.refine_maps(image, maps)
    with torch.autocast('cpu', torch.bfloat16):
        cast = refiner.refine_maps(image, maps)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


def test_product_is_of_the_matrix():
    torch.manual_seed(0)
    maps, unit = torch.rand(2, 3, 6), F.normalize(
        torch.randn(2, 4, 6), dim=1)
    matrix = (unit.mT @ unit).relu()**2
    assert_close(cosine_product(maps, unit, 2), maps @ matrix.mT)


# --------------------------------------------------------- in a CAMSegmentor
MEAN, STD = [110., 120., 130.], [50., 60., 70.]


def segmentor(tmp_path, **kwargs):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmwsss.CAMSegmentor',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=MEAN,
                std=STD,
                bgr_to_rgb=True,
                size_divisor=1),
            backbone=dict(
                type='ResNet',
                depth=18,
                base_channels=8,
                stem_channels=8,
                num_stages=2,
                strides=(1, 2),
                dilations=(1, 1),
                out_indices=(1, )),
            cls_head=dict(
                type='mmwsss.CAMHead',
                num_classes=4,
                in_channels=16,
                init_cfg=None),
            refiner=dict(
                type='mmwsss.FrozenAffinity', network=vit_network(tmp_path)),
            localizer=dict(type='mmwsss.RefinedCAM'),
            test_cfg=dict(flip=False),
            **kwargs))
    # So that no map is negative everywhere.
    model.cls_head.conv.weight.data.abs_()
    return model.eval()


def with_labels(*labels):
    score = torch.zeros(4)
    score[list(labels)] = 1
    sample = SegDataSample(metainfo=dict(img_id='a'))
    sample.gt_label = LabelData(label=torch.tensor(labels), score=score)
    return sample


def test_in_a_cam_segmentor(tmp_path):
    model = segmentor(tmp_path)
    picture = pictures(3, 24, 32)  # BGR.
    batch = model.data_preprocessor(
        dict(inputs=[picture], data_samples=[with_labels(3, 1)]), False)
    with torch.no_grad():
        sample, = model.predict(**batch)
        cams = model.forward_view(batch['inputs']).cams[:, [3, 1]].relu()
    maps = F.interpolate(cams, (3, 4), mode='bilinear')
    # The frozen network sees the picture itself, in RGB.
    features = plain_features(vit_network(tmp_path), picture.flip(0)[None])
    maps = loop_cosine(maps[0], features[0], 2, 1)[None]
    maps = F.interpolate(
        maps, (24, 32), mode='bilinear', align_corners=True)[0]
    low, high = (f(maps, (1, 2), True) for f in (torch.amin, torch.amax))
    assert sample.class_ids.tolist() == [3, 1]
    assert_close(
        sample.cams, (maps - low) / (high - low), rtol=1e-3, atol=1e-4)


def test_planes_of_a_view(tmp_path):
    model = segmentor(tmp_path)
    image = (pictures(2, 3, 24, 32) - 120) / 60
    with torch.no_grad():
        view = model.forward_view(image)
        planes = view.refined_cams
        asked = model.refiner(view, torch.tensor([[2, 0], [1, -1]]))
    assert planes.shape == (2, 5, 3, 4)
    assert_close(planes[:, 0], 1 - planes[:, 1:].amax(dim=1))
    assert_close(planes[:, 1:].amax(dim=(2, 3)), torch.ones(2, 4))
    assert (planes >= 0).all()
    # Of the asked classes the maps are not divided, of -1 they are zero.
    assert not asked[1, 1].any()
    for n, row, c in ((0, 0, 2), (0, 1, 0), (1, 0, 1)):
        assert_close(asked[n, row] / asked[n, row].amax(), planes[n, c + 1])


def test_views_of_padded_images_are_refused(tmp_path):
    refiner = FrozenAffinity(toy_network(tmp_path))
    view = ViewOutput(
        pictures(2, 3, 8, 8),
        fields=dict(
            cams=torch.rand(2, 2, 2, 2),
            valid=torch.ones(2, 1, 2, 2, dtype=torch.bool)))
    with pytest.raises(ValueError, match='differ in size'):
        refiner(view)


def test_it_is_not_trained(tmp_path):
    model = segmentor(tmp_path)
    model.train()
    assert not list(model.refiner.parameters())
    # Refiners may be added and taken away at test time.
    assert not [k for k in model.state_dict() if k.startswith('refiner')]
