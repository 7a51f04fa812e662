"""Frozen networks: what they give, and that nothing can change them."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmengine.runner import load_checkpoint
from torch import nn
from torch.testing import assert_close

from mmwsss.models.backbones import frozen_features
from mmwsss.models.backbones.frozen_features import FrozenBackbone, input_size
from mmwsss.registry import MODELS
from tests.test_models.frozen_builders import (
    pictures,
    plain_features,
    toy_network,
    vit_network,
)


def features(*networks, **kwargs):
    return MODELS.build(
        dict(type='mmwsss.FrozenFeatures', networks=networks, **kwargs))


# ------------------------------------------------------------- input sizes
@pytest.mark.parametrize('size, long_side, divisor, expected', [
    ((300, 400), 352, 16, (272, 352)),
    ((400, 300), 352, 16, (352, 272)),
    ((375, 500), None, 16, (368, 496)),
    ((376, 500), None, 16, (384, 496)),  # 23.5 is rounded up.
    ((500, 500), 336, 14, (336, 336)),
    ((10, 200), 336, 16, (16, 336)),  # 16.8 rows.
    ((10, 200), 160, 16, (16, 160)),  # 8 rows: one patch.
    ((1, 1), 32, 16, (32, 32)),
    ((3, 5), 64, 8, (40, 64)),
    ((16, 16), None, 16, (16, 16)),
    ((16, 17), None, 16, (16, 16)),
])
def test_input_size(size, long_side, divisor, expected):
    assert input_size(size, long_side, divisor) == expected


def test_input_size_is_the_nearest_multiple():
    for height in range(16, 64):
        for divisor in (8, 14):
            found = input_size((height, 64), None, divisor)[0]
            others = range(divisor, 99, divisor)
            assert abs(found - height) == min(
                abs(other - height) for other in others)


def test_sizes_that_are_refused():
    with pytest.raises(ValueError, match='1 x 21 pixels.*20 times'):
        input_size((1, 21), 336, 16)
    with pytest.raises(ValueError, match='2000 x 99 .*Cut it'):
        input_size((2000, 99), None, 16)
    with pytest.raises(ValueError, match='15 x 40 .*patch of 16.*long_side'):
        input_size((15, 40), None, 16)


def test_extreme_images(tmp_path):
    model = features(
        toy_network(tmp_path, long_side=32), standardize=False)
    assert model(pictures(1, 3, 1, 1))[0].shape == (1, 6, 8, 8)
    assert model(pictures(1, 3, 1, 20))[0].shape == (1, 6, 1, 8)
    assert model(pictures(1, 3, 300, 20))[0].shape == (1, 6, 8, 1)
    with pytest.raises(ValueError, match='20 times as long as wide'):
        model(pictures(1, 3, 2, 60))
    small = features(toy_network(tmp_path), standardize=False)
    with pytest.raises(ValueError, match='smaller than one patch'):
        small(pictures(1, 3, 3, 8))


# ------------------------------------------------------------ the features
def test_features_are_those_of_the_network(tmp_path):
    network = toy_network(tmp_path)
    image = pictures(2, 3, 16, 24)
    found, = features(network, standardize=False)(image)
    assert found.dtype == torch.float32
    assert_close(found, plain_features(network, image))
    # uint8 as well.
    again, = features(network, standardize=False)(image.byte())
    assert torch.equal(found, again)


def test_resized_and_normalised(tmp_path):
    network = toy_network(
        tmp_path, long_side=16, mean=(1., 2., 3.), std=(4., 5., 6.))
    backbone = FrozenBackbone(**network)
    image = pictures(1, 3, 50, 40)
    small = F.interpolate(image, (16, 12), mode='bilinear', antialias=True)
    for channel, (mean, std) in enumerate(((1, 4), (2, 5), (3, 6))):
        assert_close(
            backbone.normalized(image)[:, channel],
            (small[:, channel] - mean) / std)


def test_several_maps_of_a_network(tmp_path):
    image = pictures(1, 3, 16, 24)
    network = toy_network(tmp_path, out_index=(0, -1), channels=9)
    network['backbone']['channels'] = 6
    network = dict(
        toy_network(tmp_path), out_index=(0, -1), channels=9)
    found, = features(network, standardize=False)(image)
    first, second = (plain_features(network, image, i) for i in (0, 1))
    second = F.interpolate(second, first.shape[2:], mode='bilinear')
    assert_close(found, torch.cat((first, second), dim=1))


def test_networks_of_several_strides_on_the_grid_of_the_first(tmp_path):
    networks = (toy_network(tmp_path, 0, 8), toy_network(tmp_path, 1, 4),
                vit_network(tmp_path, long_side=48))
    image = pictures(2, 3, 32, 48)
    model = features(*networks, standardize=False)
    found, = model(image)
    assert found.shape == (2, model.out_channels, 4, 6)
    assert model.out_channels == 6 + 6 + 12
    assert_close(found[:, :6], plain_features(networks[0], image))
    assert_close(
        found[:, 6:12],
        F.interpolate(
            plain_features(networks[1], image), (4, 6), mode='bilinear'))
    assert_close(found[:, 12:], plain_features(networks[2], image))


def test_channels_and_maps_that_do_not_fit(tmp_path):
    for wrong in (dict(channels=7), dict(out_index=2), dict(out_index=())):
        network = dict(toy_network(tmp_path), **wrong)
        with pytest.raises(ValueError, match=r'ToyFrozenNet gives \[\(1, 6, '
                           r'2, 2\), \(1, 3, 1, 1\)\].*out_index'):
            features(network, standardize=False)(pictures(1, 3, 8, 8))
    with pytest.raises(ValueError, match='at least one network'):
        features()


# ---------------------------------------------------------------- frozen
def test_nothing_can_train_it(tmp_path):
    image = pictures(1, 3, 16, 16)
    model = nn.Sequential(
        features(toy_network(tmp_path), standardize=False))
    before = model(image)[0]
    model.train()
    assert not list(model.parameters())
    assert torch.equal(model(image)[0], before)  # No dropout, no batch norm.
    network = model[0].networks[0].get_network()
    for module in network.modules():
        assert not module.training
    assert not any(p.requires_grad for p in network.parameters())
    with torch.enable_grad():
        assert not model(image.requires_grad_())[0].requires_grad
    # Even somebody who asks for it changes nothing that is saved.
    assert list(model.state_dict()) == ['0.networks.0.digest']
    assert torch.equal(network.norm.running_mean,
                       torch.load(
                           tmp_path / 'toy0_4_6.pth',
                           weights_only=True)['norm.running_mean'])


def test_optimizer_and_state(tmp_path):
    model = nn.ModuleDict(
        dict(
            backbone=features(
                toy_network(tmp_path), vit_network(tmp_path)),
            head=nn.Conv2d(18, 2, 1)))
    model['backbone'].raw_features(pictures(1, 3, 16, 16))  # Builds them.
    optimizer = build_optim_wrapper(
        model, dict(optimizer=dict(type='AdamW', lr=1e-3))).optimizer
    optimized = [p for group in optimizer.param_groups
                 for p in group['params']]
    assert [p.shape for p in optimized] == [
        p.shape for p in model['head'].parameters()
    ]
    assert set(model.state_dict()) == {
        'backbone.mean', 'backbone.std', 'backbone.num_positions',
        'backbone.networks.0.digest', 'backbone.networks.1.digest',
        'head.weight', 'head.bias'
    }
    assert model['backbone'].networks[0].digest.shape == (16, )


def test_building_it_draws_no_random_number(tmp_path):
    model = features(toy_network(tmp_path), standardize=False)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    model(pictures(1, 3, 8, 8))
    assert torch.equal(torch.rand(4), expected)


def test_autocast_changes_nothing(tmp_path):
    model = features(
        toy_network(tmp_path), vit_network(tmp_path), standardize=False)
    image = pictures(1, 3, 16, 16)
    plain, = model(image)
    with torch.autocast('cpu', torch.bfloat16):
        cast, = model(image)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


def test_a_copy_of_it(tmp_path):
    model = features(toy_network(tmp_path), standardize=False)
    unbuilt = copy.deepcopy(model)
    image = pictures(1, 3, 8, 8)
    expected, = model(image)
    for other in (unbuilt, copy.deepcopy(model)):
        other.networks[0].digest += 0
        assert torch.equal(other(image)[0], expected)
        assert other.networks[0].get_network() is not \
            model.networks[0].get_network()


def test_negative_values_of_normalised_images_are_refused(tmp_path):
    """A data preprocessor that normalises as well would go unnoticed."""
    model = features(toy_network(tmp_path), standardize=False)
    image = pictures(2, 3, 16, 16)
    with pytest.raises(ValueError, match=r'mean=\[0, 0, 0\]'):
        model((image - 115) / 58)
    model(image * 0)
    model(image * 0 + 255)


# --------------------------------------------------------------- weights
def test_weights_that_are_missing(tmp_path):
    network = toy_network(tmp_path)
    path = tmp_path / 'toy0_4_6.pth'
    path.unlink()
    model = features(network, standardize=False)  # Builds without them.
    for _ in range(2):  # The second call must not find a half-built one.
        with pytest.raises(FileNotFoundError, match=f'{path}.*ToyFrozenNet'):
            model(pictures(1, 3, 8, 8))


@pytest.mark.parametrize('change', [
    lambda state: state.pop('conv.bias'),
    lambda state: state.update({'conv.bias': torch.zeros(7)}),
    lambda state: state.pop('norm.running_var'),
    lambda state: [state.pop(k) for k in list(state)],
    lambda state: [
        state.update({f'backbone.{k}': state.pop(k)}) for k in list(state)
    ],
], ids=['lacks', 'shape', 'buffer', 'empty', 'prefix'])
def test_weights_that_do_not_fit(tmp_path, change):
    network = toy_network(tmp_path)
    path = tmp_path / 'toy0_4_6.pth'
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    model = features(network, standardize=False)
    for _ in range(2):
        with pytest.raises(ValueError, match=f'{path}'):
            model(pictures(1, 3, 8, 8))


def test_a_file_cut_short(tmp_path):
    network = toy_network(tmp_path)
    path = tmp_path / 'toy0_4_6.pth'
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(ValueError, match=f'{path}.*cut short'):
        features(network, standardize=False)(pictures(1, 3, 8, 8))


def test_a_prefix(tmp_path):
    network = toy_network(tmp_path)
    path = tmp_path / 'toy0_4_6.pth'
    image = pictures(1, 3, 8, 8)
    expected, = features(network, standardize=False)(image)
    state = torch.load(path, weights_only=True)
    torch.save(
        dict(
            state_dict={
                **{f'backbone.{k}': v
                   for k, v in state.items()}, 'head.weight': torch.ones(3)
            }), path)
    network['backbone']['init_cfg']['prefix'] = 'backbone.'
    assert torch.equal(
        features(network, standardize=False)(image)[0], expected)


def test_random_weights_do_not_pass_without_a_word(tmp_path, monkeypatch):
    network = toy_network(tmp_path)
    network['backbone'].pop('init_cfg')
    said = []
    monkeypatch.setattr(frozen_features, 'print_log',
                        lambda text, **kwargs: said.append(text))
    features(network, standardize=False)(pictures(1, 3, 8, 8))
    assert len(said) == 1 and 'random' in said[0] and 'init_cfg' in said[0]


# ---------------------------------------------------------------- digests
def test_digest_of_weights_and_rule(tmp_path):
    toy = toy_network(tmp_path)
    digests = {
        bytes(FrozenBackbone(**network).compute_digest(), 'ascii')
        for network in (
            toy, dict(toy, long_side=32), dict(toy, divisor=8),
            dict(toy, mean=(0., 0., 0.)), dict(toy, std=(1., 1., 1.)),
            toy_network(tmp_path, 1))
    }
    assert len(digests) == 6
    # Where the weights lie does not matter, nor which map is taken.
    other = toy_network(tmp_path)
    path = tmp_path / 'elsewhere.pth'
    (tmp_path / 'toy0_4_6.pth').rename(path)
    other['backbone']['init_cfg']['checkpoint'] = str(path)
    moved = FrozenBackbone(**dict(other, out_index=1, channels=3))
    assert bytes(moved.compute_digest(), 'ascii') in digests


@pytest.mark.parametrize('built', [False, True])
@pytest.mark.parametrize('change', ['weights', 'rule', 'map', None])
def test_a_checkpoint_of_another_network(tmp_path, built, change):
    toy = toy_network(tmp_path)
    first = features(toy)
    first.set_statistics(4, torch.ones(6).double(), 2 * torch.ones(6).double())
    image = pictures(1, 3, 8, 8)
    expected, = first(image)
    path = tmp_path / 'checkpoint.pth'
    torch.save(dict(state_dict=first.state_dict()), path)
    assert path.stat().st_size < 4000  # No weights of the network in it.
    other = {
        'weights': toy_network(tmp_path, 1),
        'rule': dict(toy, long_side=8),
        'map': dict(toy, out_index=1, channels=6),
        None: toy
    }[change]
    second = features(other)
    if built:
        if change == 'map':
            second.networks[0].prepare()
        else:
            second.raw_features(image)

    def load_and_run():
        load_checkpoint(second, str(path), map_location='cpu')
        return second(image)[0]

    if change is None:
        assert torch.equal(load_and_run(), expected)
        return
    for _ in range(2):
        with pytest.raises(ValueError, match='trained on features of another '
                           'network.*ToyFrozenNet.*digest [0-9a-f]{32}, '
                           'here [0-9a-f]{32}'):
            load_and_run()
    # Nor does a later call pass.
    with pytest.raises(ValueError, match='another network'):
        second(image)


# ------------------------------------------------------ standardised maps
def test_before_statistics(tmp_path):
    with pytest.raises(RuntimeError, match='FeatureStatisticsHook'):
        features(toy_network(tmp_path))(pictures(1, 3, 8, 8))


def test_statistics(tmp_path):
    model = features(toy_network(tmp_path))
    image = pictures(3, 3, 16, 20)
    raw = model.raw_features(image).transpose(0, 1).flatten(1).double()
    model.set_statistics(raw.shape[1], raw.sum(1), raw.square().sum(1))
    assert int(model.num_positions) == 3 * 4 * 5
    assert_close(model.mean, raw.mean(1).float())
    assert_close(model.std, raw.std(1, correction=0).float())
    found = model(image)[0].transpose(0, 1).flatten(1)
    assert_close(found.mean(1), torch.zeros(6), atol=1e-5, rtol=0)
    assert_close(found.std(1, correction=0), torch.ones(6))
    # They survive a checkpoint that is loaded safely.
    path = tmp_path / 'c.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    other = features(toy_network(tmp_path))
    other.load_state_dict(torch.load(path, weights_only=True)['state_dict'])
    assert torch.equal(other(image)[0], model(image)[0])


def test_statistics_that_cannot_be(tmp_path):
    model = features(toy_network(tmp_path))
    with pytest.raises(ValueError, match='no training images'):
        model.set_statistics(0, torch.zeros(6), torch.zeros(6))
    with pytest.raises(ValueError, match='infinite'):
        model.set_statistics(1, torch.zeros(6), torch.full((6, ), torch.nan))
    assert not model.num_positions


@pytest.mark.parametrize('value', [0., 5.3, 1234.5])
def test_a_channel_that_was_constant_in_training(tmp_path, value):
    """Divided by a deviation of nearly 0, it would drown all others."""
    model = features(toy_network(tmp_path))
    image = pictures(1, 3, 16, 16)
    raw = model.raw_features(image)[0].flatten(1).double()
    raw[2] = torch.tensor(value)  # As float32.
    model.set_statistics(raw.shape[1], raw.sum(1), raw.square().sum(1))
    found, = model(image)
    assert not found[0, 2].any()
    assert_close(found[0, 3].std(correction=0), torch.tensor(1.))


# --------------------------------------------------------- images of a batch
def batch(sizes):
    height, width = (max(s[d] for s in sizes) for d in (0, 1))
    images = [pictures(3, *size, seed=i) for i, size in enumerate(sizes)]
    # Padded with something that would show.
    padded = torch.stack([
        F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]),
              value=200.) for image in images
    ])
    return images, padded


@pytest.mark.parametrize('long_side', [None, 32])
def test_images_of_a_batch_do_not_see_each_other(tmp_path, long_side):
    sizes = [(16, 24), (24, 16), (8, 8), (16, 24)]
    images, padded = batch(sizes)
    model = features(
        toy_network(tmp_path, long_side=long_side),
        vit_network(tmp_path, long_side=40))
    model.set_statistics(9, torch.arange(18.).double(),
                         torch.arange(18.).double()**2)
    maps, valid = model.forward_sized(padded, sizes)
    assert valid.dtype == torch.bool and valid.shape[1] == 1
    for image, found, where in zip(images, maps, valid):
        alone, = model(image[None])
        height, width = alone.shape[2:]
        assert_close(found[:, :height, :width], alone[0], rtol=1e-5,
                     atol=1e-5)
        assert where[0, :height, :width].all()
        assert int(where.sum()) == height * width
        assert not found[:, ~where[0]].any()


def test_images_of_one_size(tmp_path):
    model = features(toy_network(tmp_path), standardize=False)
    images = pictures(3, 3, 8, 12)
    maps, valid = model.forward_sized(images, [(8, 12)] * 3)
    assert valid is None and torch.equal(maps, model(images)[0])
    # A frame around all of them is cut off as well.
    maps, valid = model.forward_sized(F.pad(images, (0, 4, 0, 8)),
                                      [(8, 12)] * 3)
    assert valid is None and torch.equal(maps, model(images)[0])
    # Different sizes that give one grid.
    maps, valid = model.forward_sized(images, [(8, 12), (8, 11), (7, 12)])
    assert valid is None and maps.shape == (3, 6, 2, 3)





def test_positions_of_unit_length(tmp_path):
    networks = toy_network(tmp_path), toy_network(tmp_path, 1, 8, 4)
    plain = features(*networks)
    unit = features(*networks, unit_length=True)
    for model in (plain, unit):
        model.set_statistics(10, torch.full((10, ), 3.).double(),
                             torch.full((10, ), 50.).double())
    images = pictures(2, 3, 16, 24)
    sizes = [(16, 24), (8, 16)]
    expected, valid = plain.forward_sized(images, sizes)
    found, again = unit.forward_sized(images, sizes)
    assert torch.equal(valid, again)
    for n, y, x in valid[:, 0].nonzero().tolist():
        vector = expected[n, :, y, x]
        length = sum(float(v)**2 for v in vector)**0.5
        assert_close(found[n, :, y, x], vector * 10**0.5 / length)
    assert not found[(~valid).expand_as(found)].any()
