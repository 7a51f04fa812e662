import copy

import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer
from torch.testing import assert_close

from mmwsss.models.backbones.hybrid_vit import HybridViT
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest
from tests.test_models.builders import ARCH, vit_cfg

STEM = dict(layers=(1, 1), channels=(16, 32), stem_channels=8)


def build(seed=0, **kwargs):
    torch.manual_seed(seed)
    cfg = dict(
        type='mmwsss.HybridViT', arch=ARCH, stem=STEM, img_size=64)
    cfg.update(kwargs)
    vit = MODELS.build(cfg)
    vit.eval()  # mmpretrain's returns nothing
    for param in vit.parameters():
        torch.nn.init.normal_(param, std=0.2)
    return vit


def test_default_is_vit_base_r50_s16():
    with torch.device('meta'):
        vit = HybridViT(final_norm=True)
    assert vit.size_divisor == 16
    assert vit.patch_resolution == (24, 24)
    assert vit.pos_embed.shape == (1, 1 + 24 * 24, 768)
    assert vit.patch_embed.projection.weight.shape == (768, 1024, 1, 1)
    # timm counts 98.95 M parameters including the ImageNet classifier.
    total = sum(p.numel() for p in vit.parameters()) + 769 * 1000
    assert round(total / 1e6, 2) == 98.95


def test_embedding():
    embed = build().patch_embed
    image = torch.randn(2, 3, 40, 57)
    stages = embed.stages(image)
    assert [tuple(s.shape) for s in stages] == [(2, 16, 10, 15),
                                                (2, 32, 5, 8)]
    tokens, grid = embed(image)
    assert grid == (5, 8)
    assert tokens.shape == (2, 40, ARCH['embed_dims'])
    # Row after row: token 9 stands at row 1, column 1.
    weight = embed.projection.weight[:, :, 0, 0]
    expected = stages[-1][:, :, 1, 1] @ weight.T + embed.projection.bias
    assert_close(tokens[:, 9], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(64, 64), (48, 96), (61, 35), (8, 8)])
def test_equals_mmpretrain_body(size):
    ours = build(final_norm=True)
    theirs = VisionTransformer(
        arch=ARCH,
        img_size=64,
        patch_size=8,
        out_type='raw',
        interpolate_mode='bilinear')
    theirs.eval()
    theirs.patch_embed = copy.deepcopy(ours.patch_embed)
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(2, 3, *size)
    expected = theirs(image)[0]
    grid = (-(-size[0] // 8), -(-size[1] // 8))
    view = ours.forward_view(image)
    assert view['grid'] == grid
    assert_close(view['cls_token'], expected[:, 0], rtol=1e-4, atol=1e-4)
    feature = expected[:, 1:].transpose(1, 2).unflatten(2, grid)
    assert_close(ours(image)[0], feature, rtol=1e-4, atol=1e-4)


def test_distilled_and_img_size():
    vit = build(img_size=(32, 70), distilled=True)
    assert vit.patch_resolution == (4, 9)
    assert vit.pos_embed.shape[1] == 2 + 36
    view = vit.forward_view(
        torch.randn(1, 3, 32, 70), AttentionRequest(matrices='mean'))
    assert view['attentions'][0].shape == (1, 38, 38)


def test_frozen_stages():
    vit = build(frozen_stages=1)
    assert not any(p.requires_grad for p in vit.patch_embed.parameters())
    assert not any(p.requires_grad for p in vit.layers[0].parameters())
    assert all(p.requires_grad for p in vit.layers[1].parameters())


def test_init_weights():
    vit = MODELS.build(
        dict(type='mmwsss.HybridViT', arch=ARCH, stem=STEM, img_size=64))
    vit.init_weights()
    assert 0.01 < vit.pos_embed.std() < 0.03
    assert 0 < vit.cls_token.std() < 0.05
    assert vit(torch.randn(1, 3, 64, 64))[0].isfinite().all()


def test_position_embedding_is_resized_on_loading():
    small, large = build(img_size=64), build(img_size=96, seed=1)
    large.load_state_dict(small.state_dict())
    assert large.pos_embed.shape[1] == 1 + 12 * 12
    assert torch.equal(large.pos_embed[:, 0], small.pos_embed[:, 0])


@pytest.mark.parametrize('other', [
    dict(type='mmwsss.AttentionViT', patch_size=8, stem=None),
    dict(stem=dict(layers=(2, 1), channels=(16, 32), stem_channels=8)),
    dict(stem=dict(layers=(1, 1), channels=(16, 64), stem_channels=8)),
])
def test_checkpoint_of_another_stem(other):
    vit = build()
    if other.get('type'):
        source = MODELS.build(vit_cfg(patch_size=8))
    else:
        source = build(**other)
    with pytest.raises(ValueError, match='does not fit HybridViT'):
        vit.load_state_dict(source.state_dict(), strict=False)


def test_stages_of_the_stem_come_first():
    vit = build(stem_out_indices=(0, 1), out_indices=(1, 3))
    image = torch.randn(2, 3, 32, 64)
    view = vit.forward_view(image)
    stages = vit.patch_embed.stages(image)
    assert [tuple(f.shape[1:]) for f in view['feats']] == [(16, 8, 16),
                                                           (32, 4, 8),
                                                           (24, 4, 8),
                                                           (24, 4, 8)]
    assert_close(view['feats'][:2], tuple(stages))
    assert_close(view['feats'][2:],
                 build(out_indices=(1, 3)).forward_view(image)['feats'])
    # A class token has only a block.
    assert len(view['cls_tokens']) == 2
    mirrored = vit.forward_view(image, align=lambda tokens: tokens.flip(2))
    for ours, stage in zip(mirrored['feats'], stages):
        assert_close(ours, stage.flip(-1))


def test_missing_stage():
    with pytest.raises(ValueError, match='it has 0 to 1'):
        build(stem_out_indices=(0, 2))


@pytest.mark.parametrize('name', ['patch_size', 'patch_cfg'])
def test_patch_arguments_are_refused(name):
    with pytest.raises(ValueError, match=f'takes no {name}'):
        HybridViT(arch=ARCH, stem=STEM, **{name: 8})
