"""Keys and attention of a frozen network, and the masks made of them."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmwsss.models.backbones.frozen_features import FrozenBackbone
from mmwsss.models.backbones.timm_backbone import has_timm
from mmwsss.models.discovery import ObjectDiscovery, read_patch_tokens
from mmwsss.registry import MODELS

from ..fake_gpu import FakeGPU
from .frozen_builders import pictures, toy_network, vit_network

FOUND = dict(type='mmwsss.BackgroundDiscovery', threshold=.3)
CUT = dict(type='mmwsss.NormalizedCut', num_objects=2, threshold=.5)


def plain_tokens(vit, image, prefix):
    """Keys and class attention of the last block, written out."""
    mean = torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1)
    patches, grid, _ = vit.patchify((image - mean) / std)
    x = vit.embed(patches, grid)
    *first, last = vit.layers
    for layer in first:
        x = layer(x)
    qkv = last.attn.qkv(last.ln1(x))[0]
    dims = vit.embed_dims
    heads = last.attn.num_heads
    size = dims // heads
    keys, rows = [], []
    for h in range(heads):
        q = qkv[:, h * size:(h + 1) * size]
        k = qkv[:, dims + h * size:dims + (h + 1) * size]
        attention = (q @ k.T / size**.5).softmax(dim=1)
        keys.append(k[prefix:].reshape(*grid, size))
        rows.append(attention[0, prefix:].reshape(grid))
    return torch.stack(keys), torch.stack(rows)


@pytest.mark.parametrize('extra', [{}, dict(num_registers=3)])
@torch.no_grad()
def test_tokens(tmp_path, extra):
    network = FrozenBackbone(**vit_network(tmp_path))
    network.config.update(extra)
    if extra:
        network.config.pop('init_cfg')
    image = pictures(1, 3, 24, 40)
    keys, row = read_patch_tokens(network, image)
    vit = network.get_network()
    expected = plain_tokens(vit, image, vit.num_prefix_tokens)
    assert keys.shape == (3, 3, 5, 4) and row.shape == (3, 3, 5)
    torch.testing.assert_close(keys, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(row, expected[1], rtol=1e-4, atol=1e-6)
    # The registered hooks are gone.
    assert not any(m._forward_hooks for m in vit.modules())
    with torch.autocast('cpu', torch.bfloat16):
        half = read_patch_tokens(network, image)
    assert torch.equal(half.keys, keys) and half.keys.dtype == torch.float32


@pytest.mark.skipif(not has_timm(), reason='timm is not installed')
@torch.no_grad()
def test_tokens_of_timm():
    """The same transformer under timm's names."""
    import timm
    torch.manual_seed(0)
    model = timm.create_model(
        'vit_tiny_patch16_224', depth=2, qk_norm=True, img_size=64,
        dynamic_img_size=True).eval()
    network = FrozenBackbone(
        dict(type='mmwsss.TimmBackbone', model_name='x'), channels=192)

    class Wrapped(nn.Module):

        def forward(self, x):
            size = model.patch_embed.dynamic_feat_size(x.shape[-2:])
            tokens = model.forward_features(x)[:, 1:]
            return tokens.transpose(1, 2).unflatten(2, tuple(size)),

    wrapped = Wrapped()
    wrapped.model = model
    network._hidden = (wrapped, )
    image = pictures(1, 3, 48, 64)
    keys, row = read_patch_tokens(network, image)
    assert keys.shape == (3, 3, 4, 64)
    attn = model.blocks[-1].attn
    x = network.normalized(image)
    tokens = model.patch_embed(x)
    tokens = model._pos_embed(tokens)
    tokens = model.blocks[0](model.norm_pre(tokens))
    qkv = attn.qkv(model.blocks[1].norm1(tokens))[0].reshape(13, 3, 3, 64)
    k = attn.k_norm(qkv[:, 1].transpose(0, 1))
    q = attn.q_norm(qkv[:, 0].transpose(0, 1))
    torch.testing.assert_close(
        keys, k[:, 1:].reshape(3, 3, 4, 64), rtol=1e-4, atol=1e-5)
    expected = (q @ k.mT / 8).softmax(dim=-1)[:, 0, 1:].reshape(3, 3, 4)
    torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-6)


def test_networks_without_attention(tmp_path):
    network = FrozenBackbone(**toy_network(tmp_path))
    image = pictures(1, 3, 20, 28)
    keys, row = read_patch_tokens(network, image)
    assert row is None
    assert torch.equal(keys[0], network(image)[0].permute(1, 2, 0))
    found = ObjectDiscovery(toy_network(tmp_path), CUT)(image)
    assert found.shape[1:] == (20, 28)
    with pytest.raises(ValueError, match='class token'):
        ObjectDiscovery(toy_network(tmp_path), FOUND)(image)


@ROOT_MODELS.register_module()
class WindowedToyNet(nn.Module):
    """Attention over windows of 2 x 2, without tokens of the image."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 8, 8)
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(6, 18)
        self.attn.num_heads = 2

    def forward(self, x):
        x = self.embed(x)
        self.attn.qkv(x[..., :2, :2].flatten(2).mT)
        return x


def test_windows_are_refused():
    network = FrozenBackbone(dict(type='WindowedToyNet'), channels=6)
    network._hidden = (WindowedToyNet(), )
    with pytest.raises(ValueError, match='4, 18.*no 4 x 4 patches'):
        read_patch_tokens(network, pictures(1, 3, 24, 32))


class Fixed(nn.Module):
    """A finder or refiner with a given answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, *inputs):
        return self.answer


def test_masks_at_image_size(tmp_path):
    model = ObjectDiscovery(vit_network(tmp_path), FOUND)
    grid = np.zeros((2, 3, 5), bool)
    grid[0, 1, 1:3] = True
    grid[1, :, 4] = True
    model.finder = Fixed(grid)
    image = pictures(1, 3, 24, 41)
    found = model(image)
    expected = F.interpolate(
        torch.from_numpy(grid)[None].float(), (24, 41), mode='bilinear') > .5
    assert np.array_equal(found, expected[0].numpy())
    # A refined mask counts if it overlaps enough.
    refined = torch.zeros(1, 2, 24, 41)
    refined[0, 0, 9:15, 10:24] = 1
    refined[0, 1, :4] = .9
    model.refiner = Fixed(refined)
    both = model(image)
    assert np.array_equal(both[0], refined[0, 0].numpy() > .5)
    assert np.array_equal(both[1], found[1])
    model.finder = Fixed(grid[:0])
    assert model(image).shape == (0, 24, 41)


def test_large_images(tmp_path):
    """They are looked at and refined at a bounded size."""
    cfg = dict(
        network=vit_network(tmp_path), finder=FOUND,
        refiner=dict(type='mmwsss.PAMR', num_iters=2, dilations=(1, 2)))
    bounded = ObjectDiscovery(**cfg, long_side=48)
    image = pictures(1, 3, 64, 96)
    small = F.interpolate(image, (32, 48), mode='bilinear', antialias=True)
    masks = torch.from_numpy(ObjectDiscovery(**cfg)(small))[None].float()
    expected = F.interpolate(masks, (64, 96), mode='bilinear') > .5
    found = bounded(image)
    assert np.array_equal(found, expected[0].numpy()) and found.any()
    assert not np.array_equal(found, ObjectDiscovery(**cfg)(image))
    # Smaller ones stay as they are.
    assert np.array_equal(bounded(small), masks[0].bool().numpy())


@pytest.mark.parametrize('size', [(24, 40), (23, 41), (5, 3), (1, 1), (70, 4)])
@pytest.mark.parametrize('finder', [FOUND, CUT], ids=['found', 'cut'])
def test_any_size(tmp_path, size, finder):
    model = ObjectDiscovery(
        vit_network(tmp_path, long_side=32), finder,
        dict(type='mmwsss.PAMR', num_iters=2, dilations=(1, 2)))
    found = model(pictures(1, 3, *size))
    assert found.dtype == bool and found.shape[1:] == size
    assert all(m.any() for m in found)


def test_one_colour_holds_no_object(tmp_path):
    model = ObjectDiscovery(vit_network(tmp_path), CUT)
    # What position embeddings look like to a finder.
    model.finder = Fixed(np.eye(4, dtype=bool)[None])
    image = torch.tensor([90., 10., 200.]).view(1, 3, 1, 1).expand(
        1, 3, 32, 32)
    assert model(image).shape == (0, 32, 32)
    assert len(model(image + pictures(1, 3, 32, 32)))


def test_smaller_than_a_patch(tmp_path):
    model = ObjectDiscovery(vit_network(tmp_path), FOUND)
    with pytest.raises(ValueError, match='smaller than one patch'):
        model(pictures(1, 3, 5, 40))


def test_half_precision_changes_nothing(tmp_path):
    model = ObjectDiscovery(vit_network(tmp_path), CUT)
    image = pictures(1, 3, 32, 48)
    expected = model(image)
    with torch.autocast('cpu', torch.bfloat16):
        assert np.array_equal(model(image), expected)


@pytest.mark.parametrize('finder', [FOUND, CUT], ids=['found', 'cut'])
def test_fake_gpu(tmp_path, finder):
    cfg = dict(
        network=vit_network(tmp_path), finder=finder,
        refiner=dict(type='mmwsss.PAMR', num_iters=2, dilations=(1, 2)))
    image = pictures(1, 3, 24, 40)
    expected = ObjectDiscovery(**cfg)(image)
    with FakeGPU() as gpu:
        found = MODELS.build(dict(cfg, type='mmwsss.ObjectDiscovery'))(
            image.to(gpu.device))
    assert isinstance(found, np.ndarray) and np.array_equal(found, expected)
