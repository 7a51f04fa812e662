"""DINOv2 in AttentionViT: against its formula, timm, and in a segmentor."""
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.backbones.attention_vit import (
    AttentionViT,
    resize_positions,
)
from mmwsss.models.converters.dinov2 import convert_dinov2, describe_dinov2
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest
from tests.test_models.builders import ARCH, build_segmentor, sample, vit_cfg

SIZES = [(518, 518), (280, 420), (560, 70)]


def official_state(width=12, depth=2, side=5, patch=14, registers=4):
    """Random parameters under the names of the official file."""
    torch.manual_seed(0)
    shapes = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 1 + side * side, width),
        'mask_token': (1, width),
        'patch_embed.proj.weight': (width, 3, patch, patch),
        'patch_embed.proj.bias': (width, ),
        'norm.weight': (width, ),
        'norm.bias': (width, )
    }
    if registers:
        shapes['register_tokens'] = (1, registers, width)
    for i in range(depth):
        for name, shape in (('norm1', (width, )), ('norm2', (width, )),
                            ('attn.qkv', (3 * width, width)),
                            ('attn.proj', (width, width)),
                            ('mlp.fc1', (4 * width, width)),
                            ('mlp.fc2', (width, 4 * width))):
            shapes[f'blocks.{i}.{name}.weight'] = shape
            shapes[f'blocks.{i}.{name}.bias'] = shape[:1]
        for name in ('ls1', 'ls2'):
            shapes[f'blocks.{i}.{name}.gamma'] = (width, )
    return {k: torch.randn(v) * 0.3 for k, v in shapes.items()}


def plain(state, image, heads, antialias=True):
    """Normalised output tokens, step by step from the official names."""
    def linear(x, name):
        return x @ state[f'{name}.weight'].T + state[f'{name}.bias']

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (
            x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return x * state[f'{name}.weight'] + state[f'{name}.bias']

    kernel = state['patch_embed.proj.weight']
    width, patch = kernel.shape[0], kernel.shape[-1]
    n, _, height, wide = image.shape
    grid = height // patch, wide // patch
    cells = image.reshape(n, 3, grid[0], patch, grid[1], patch)
    cells = cells.permute(0, 2, 4, 1, 3, 5).reshape(n, grid[0] * grid[1], -1)
    x = cells @ kernel.flatten(1).T + state['patch_embed.proj.bias']
    pos = state['pos_embed']
    side = round((pos.shape[1] - 1)**0.5)
    places = pos[:, 1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
    if grid != (side, side):
        places = F.interpolate(
            places, size=grid, mode='bicubic', antialias=antialias)
    x = x + places.permute(0, 2, 3, 1).reshape(1, -1, width)
    first = [state['cls_token'] + pos[:, :1]]
    if 'register_tokens' in state:
        first.append(state['register_tokens'])
    x = torch.cat([t.expand(n, -1, -1) for t in first] + [x], dim=1)
    depth = sum('ls1' in name for name in state)
    for i in range(depth):
        block = f'blocks.{i}.'
        q, k, v = linear(norm(x, f'{block}norm1'), f'{block}attn.qkv').chunk(
            3, dim=-1)
        out = torch.zeros_like(x)
        size = width // heads
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[..., part] @ k[..., part].mT / size**0.5
            out[..., part] = scores.softmax(dim=-1) @ v[..., part]
        x = x + state[f'{block}ls1.gamma'] * linear(out, f'{block}attn.proj')
        hidden = F.gelu(linear(norm(x, f'{block}norm2'), f'{block}mlp.fc1'))
        x = x + state[f'{block}ls2.gamma'] * linear(hidden, f'{block}mlp.fc2')
    return norm(x, 'norm')


def convert(state, **kwargs):
    """A backbone with the parameters of DINOv2."""
    converted = convert_dinov2(state)
    config = {**describe_dinov2(converted), **kwargs}
    if config['arch']['embed_dims'] == 12:
        config['arch']['num_heads'] = 3
    vit = MODELS.build(config)
    vit.eval()
    vit.load_state_dict(converted, strict=True)
    return vit


@pytest.mark.parametrize('registers', [0, 4])
@pytest.mark.parametrize('size', [(70, 70), (42, 98), (112, 84)])
def test_equals_plain_formula(registers, size):
    state = official_state(registers=registers)
    vit = convert(state)
    image = torch.randn(2, 3, *size)
    expected = plain(state, image, heads=3)
    with torch.no_grad():
        view = vit.forward_view(image, AttentionRequest(matrices='heads'))
        feats, = vit(image)
    assert view['grid'] == (size[0] // 14, size[1] // 14)
    first = 1 + registers
    assert view['num_prefix_tokens'] == vit.num_prefix_tokens == first
    for found in (feats, view['feats'][0]):
        assert_close(found.flatten(2).mT, expected[:, first:], rtol=1e-4,
                     atol=1e-5)
    assert_close(view['cls_token'], expected[:, 0], rtol=1e-4, atol=1e-5)


def test_antialias_is_a_choice():
    state = official_state()
    image = torch.randn(1, 3, 42, 56)
    expected = plain(state, image, heads=3, antialias=False)[:, 5:]
    found, = convert(state, interpolate_antialias=False)(image)
    assert_close(found.flatten(2).mT, expected, rtol=1e-4, atol=1e-5)
    other, = convert(state)(image)
    assert (other - found).abs().max() > 1e-2


def test_positions_resized_at_loading_and_at_use_are_the_same():
    state = official_state()
    image = torch.randn(1, 3, 42, 42)
    small = convert(state, img_size=42)
    assert small.pos_embed.shape == (1, 10, 12)
    assert_close(small(image), convert(state)(image))
    # Half precision comes back, the class token's stays as it is.
    pos = state['pos_embed'].bfloat16()
    resized = resize_positions(pos, (5, 5), (3, 4), 1, 'bicubic', True)
    assert resized.shape == (1, 13, 12) and resized.dtype == torch.bfloat16
    assert torch.equal(resized[:, 0], pos[:, 0])
    assert resize_positions(pos, (5, 5), (5, 5), 1) is pos


@pytest.mark.parametrize('name, registers', [
    ('vit_small_patch14_dinov2', 0), ('vit_small_patch14_reg4_dinov2', 4)])
def test_equals_timm(name, registers):
    timm = pytest.importorskip('timm', reason='timm is not installed')
    torch.manual_seed(0)
    theirs = timm.create_model(
        name, depth=2, img_size=518, dynamic_img_size=True, num_classes=0)
    theirs.eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours = convert(theirs.state_dict())
    assert ours.num_registers == registers
    for size in SIZES:
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = theirs.forward_features(image)
            view = ours.forward_view(image)
        # Values are near 1 at most.
        assert_close(view['cls_token'], expected[:, 0], rtol=0, atol=1e-5)
        assert_close(
            view['feats'][0].flatten(2).mT,
            expected[:, 1 + registers:],
            rtol=0,
            atol=1e-5)


@pytest.mark.parametrize('arch, facts', [
    ('dinov2-small', (384, 12, 6, 1536)), ('dinov2-base', (768, 12, 12, 3072)),
    ('dinov2-large', (1024, 24, 16, 4096))])
def test_sizes(arch, facts):
    assert tuple(AttentionViT.arch_zoo[arch].values()) == facts
    with torch.device('meta'):
        vit = AttentionViT(arch, img_size=518, patch_size=14, num_registers=4)
    assert vit.pos_embed.shape == (1, 1370, facts[0])
    assert vit.register_tokens.shape == (1, 4, facts[0])
    assert vit.size_divisor == 14


def dinov2_like(**kwargs):
    return vit_cfg(
        arch=ARCH,
        img_size=70,
        patch_size=14,
        layer_scale_init_value=1e-5,
        num_registers=4,
        interpolate_mode='bicubic',
        interpolate_antialias=True,
        **kwargs)


@pytest.mark.parametrize('localizer', ['GETAM', 'CAM'])
def test_segmentor(localizer):
    """It trains, with ACR's second view, and predicts at odd sizes."""
    parts = dict(localizer=dict(type='mmwsss.GETAM', start_layer=2))
    if localizer == 'CAM':
        parts = dict(
            localizer=dict(type='mmwsss.CAM'),
            cls_head=dict(
                type='mmwsss.CAMHead', num_classes=5, in_channels=24))
    else:
        parts.update(
            second_view=dict(type='mmwsss.HorizontalFlip'),
            regularizers=dict(
                acr=dict(type='mmwsss.AllPairsConsistency', num_tokens=25)))
    model = build_segmentor(backbone=dinov2_like(final_norm=True), **parts)
    model.train()
    inputs = torch.randn(2, 3, 70, 98)
    samples = [sample([0, 3]), sample([2])]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = model.loss(inputs, samples)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert not missing
    assert model.backbone.register_tokens.grad.abs().sum() > 0
    optimizer.step()
    again = model.loss(inputs, samples)
    assert sum(v for k, v in again.items() if 'loss' in k) < total
    model.eval()
    sizes = [(65, 90), (70, 98)]
    for data_sample, size in zip(samples, sizes):
        data_sample.set_metainfo(dict(ori_shape=size, img_shape=(70, 98)))
    found = model.predict(inputs, samples)
    for result, tags in zip(found, ([0, 3], [2])):
        assert result.class_ids.tolist() == tags
        assert result.cams.shape[0] == len(tags)
        assert result.cams.isfinite().all() and result.cams.std() > 0


def test_registers_are_initialised():
    vit = MODELS.build(dinov2_like())
    vit.init_weights()
    assert vit.register_tokens.abs().sum() > 0
    assert (vit.layers[0].attn.gamma1.weight == 1e-5).all()
    assert (vit.layers[0].ffn.gamma2.weight == 1e-5).all()
