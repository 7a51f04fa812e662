import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.converters import dinov2 as module
from mmwsss.models.converters.dinov2 import (
    convert_dinov2,
    convert_dinov2_file,
    describe_dinov2,
    dinov2_to_mmwsss_key,
)
from mmwsss.models.converters.timm_vit import convert_timm_vit
from mmwsss.registry import MODELS
from tests.test_models.test_backbones.test_dinov2 import official_state

TOOL = Path(__file__).parents[3] / 'tools/model_converters/dinov2.py'


def timm_state():
    """The same model in timm's file: no position for the class token."""
    state = official_state()
    del state['mask_token']
    state['reg_token'] = state.pop('register_tokens')
    state['cls_token'] = state['cls_token'] + state['pos_embed'][:, :1]
    state['pos_embed'] = state['pos_embed'][:, 1:]
    return state


def build(meta, checkpoint):
    vit = MODELS.build(
        dict(
            meta['backbone'],
            init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint))))
    vit.init_weights()
    vit.eval()
    return vit


@pytest.mark.parametrize('theirs,ours', [
    ('register_tokens', 'register_tokens'),
    ('reg_token', 'register_tokens'),
    ('mask_token', None),
    ('blocks.11.ls1.gamma', 'layers.11.attn.gamma1.weight'),
    ('blocks.0.ls2.gamma', 'layers.0.ffn.gamma2.weight'),
    ('blocks.0.norm2.bias', 'layers.0.ln2.bias'),
    ('norm.weight', 'ln1.weight'),
])
def test_key(theirs, ours):
    assert dinov2_to_mmwsss_key(theirs) == ours


@pytest.mark.parametrize('registers', [0, 4])
def test_every_parameter_is_taken(registers, monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'print_log',
                        lambda message, **kwargs: lines.append(message))
    state = official_state(registers=registers)
    converted = convert_dinov2(state)
    assert lines == ['Dropped what only pretraining uses: mask_token.']
    config = describe_dinov2(converted)
    assert config == dict(
        type='mmwsss.AttentionViT',
        arch=dict(
            embed_dims=12, num_layers=2, num_heads=1,
            feedforward_channels=48),
        img_size=70,
        patch_size=14,
        layer_scale_init_value=1e-5,
        num_registers=registers,
        final_norm=True,
        interpolate_mode='bicubic',
        interpolate_antialias=True)
    vit = MODELS.build(config)
    assert converted.keys() == vit.state_dict().keys()
    assert len(converted) == len(state) - 1


def test_published_sizes_have_names():
    for width, depth, name in ((384, 12, 'dinov2-small'),
                               (768, 12, 'dinov2-base'),
                               (1024, 24, 'dinov2-large')):
        with torch.device('meta'):
            state = official_state(width, depth, side=37)
            converted = convert_dinov2(state)
        assert describe_dinov2(converted)['arch'] == name
        assert describe_dinov2(converted)['img_size'] == 518


def test_timm_and_official_files_give_one_model(tmp_path):
    torch.save(official_state(), tmp_path / 'official.pth')
    torch.save(timm_state(), tmp_path / 'timm.pth')
    files = ['official.pth', 'timm.pth']
    try:
        from safetensors.torch import save_file
    except ImportError:
        pass
    else:
        save_file({k: v.contiguous() for k, v in timm_state().items()},
                  tmp_path / 'timm.safetensors')
        files.append('timm.safetensors')
    image = torch.randn(1, 3, 56, 84)
    maps = []
    for name in files:
        dst = tmp_path / f'{name}.converted.pth'
        meta = convert_dinov2_file(tmp_path / name, dst)
        assert meta['source'] == name and len(meta['source_sha256']) == 64
        assert torch.load(dst, weights_only=True)['meta'] == meta
        maps.append(build(meta, dst)(image)[0])
    for other in maps[1:]:
        assert_close(other, maps[0], rtol=1e-5, atol=1e-5)


def test_cut_safetensors(tmp_path):
    save_file = pytest.importorskip(
        'safetensors.torch', reason='safetensors is not installed').save_file
    path = tmp_path / 'timm.safetensors'
    save_file({k: v.contiguous() for k, v in timm_state().items()}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='timm.safetensors is cut short'):
        convert_dinov2_file(path, tmp_path / 'dst.pth')
    assert not (tmp_path / 'dst.pth').exists()


def changed(**kwargs):
    """The official parameters with some replaced, or removed by None."""
    state = official_state()
    for name, value in kwargs.items():
        name = name.replace('__', '.')
        if value is None:
            del state[name]
        else:
            state[name] = torch.zeros(value)
    return state


@pytest.mark.parametrize('state, message', [
    (changed(cls_token=None), 'lacks .*cls_token'),
    (changed(blocks__1__ls2__gamma=None),
     r'lacks .*layers\.1\.ffn\.gamma2\.weight'),
    (changed(norm__bias=None), r'lacks .*ln1\.bias'),
    (changed(pos_embed=(1, 24, 12)), r'\(1, 24, 12\), which is no square'),
    (changed(pos_embed=(12, )), r'\(12,\), which is no square'),
    (changed(blocks__1__attn__qkv__weight=(24, 12)),
     r'qkv\.weight .*\(24, 12\), .* needs \(36, 12\)'),
    (changed(register_tokens=(1, 4, 6)), r'register_tokens .* \(1, 4, 6\)'),
    (changed(dist_token=(1, 1, 12)), 'dist_token .* needs none'),
    (changed(embeddings__cls_token=(1, 1, 12)),
     r'1 of 37 .*embeddings\.cls_token.*dinov2_vits14_pretrain'),
    (changed(blocks__0__mlp__w12__weight=(8, 12)), 'the ViT-g'),
    ({}, 'no complete DINOv2'),
])
def test_wrong_checkpoints(state, message):
    with pytest.raises(ValueError, match=message):
        convert_dinov2(state)


def test_other_vits():
    state = {k: v for k, v in official_state(registers=0).items()
             if '.ls' not in k}
    with pytest.raises(ValueError, match='no DINOv2 but another ViT'):
        convert_dinov2(state)
    with pytest.raises(ValueError, match='nothing to convert'):
        convert_dinov2(convert_dinov2(official_state()))
    # And the other way round.
    with pytest.raises(ValueError, match='model_converters/dinov2.py'):
        convert_timm_vit(official_state())


def test_command(tmp_path, monkeypatch, capsys):
    src, dst = tmp_path / 'src.pth', tmp_path / 'new' / 'dst.pth'
    torch.save(official_state(), src)
    monkeypatch.setattr(sys, 'argv', [TOOL.name, str(src), str(dst)])
    runpy.run_path(str(TOOL), run_name='__main__')
    out = capsys.readouterr().out
    assert f'Wrote {dst}, a checkpoint of' in out
    # What is printed can be put into a config as it is.
    printed = {}
    exec(out.split('checkpoint of\n')[1].strip(), printed)
    assert printed['backbone']['num_registers'] == 4
    build(dict(backbone=printed['backbone']), dst)
    monkeypatch.setattr(sys, 'argv', [TOOL.name, str(tmp_path), str(dst)])
    with pytest.raises(SystemExit, match='error: No checkpoint'):
        runpy.run_path(str(TOOL), run_name='__main__')
