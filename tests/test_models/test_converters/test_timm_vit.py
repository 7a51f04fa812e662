import argparse
import hashlib
import runpy
import sys
from pathlib import Path

import pytest
import torch

from mmwsss.models.backbones.attention_vit import AttentionViT
from mmwsss.models.backbones.hybrid_vit import HybridViT
from mmwsss.models.converters.checkpoint_file import load_state_dict_file
from mmwsss.models.converters.timm_vit import (
    convert_checkpoint,
    convert_timm_vit,
    describe_vit,
    timm_to_mmwsss_key,
)

TOOLS = Path(__file__).parents[3] / 'tools' / 'model_converters'
ARCH = dict(
    embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
STEM = dict(layers=(1, 2), channels=(16, 32), stem_channels=8)


def build(kind):
    torch.manual_seed(0)
    if kind == 'hybrid':
        model = HybridViT(ARCH, stem=STEM, img_size=32, final_norm=True)
    else:
        model = AttentionViT(
            ARCH,
            img_size=32,
            patch_size=8,
            final_norm=True,
            distilled=kind == 'distilled')
    for param in model.parameters():
        torch.nn.init.normal_(param)
    return model


def timm_names(kind):
    """All parameter names of such a model of timm, written down."""
    names = ['cls_token', 'pos_embed']
    if kind == 'distilled':
        names += ['dist_token', 'head_dist.weight', 'head_dist.bias']
    names += ['patch_embed.proj.weight', 'patch_embed.proj.bias']
    for i in range(2):
        for part in ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1',
                     'mlp.fc2'):
            names += [f'blocks.{i}.{part}.weight', f'blocks.{i}.{part}.bias']
    names += ['norm.weight', 'norm.bias', 'head.weight', 'head.bias']
    if kind == 'hybrid':
        stem = 'patch_embed.backbone'
        parts = ['stem.conv', 'stem.norm']
        for block in ('stages.0.blocks.0', 'stages.1.blocks.0',
                      'stages.1.blocks.1'):
            parts += [f'{block}.conv{k}' for k in (1, 2, 3)]
            parts += [f'{block}.norm{k}' for k in (1, 2, 3)]
            if block.endswith('blocks.0'):
                parts += [f'{block}.downsample.conv',
                          f'{block}.downsample.norm']
        for part in parts:
            names.append(f'{stem}.{part}.weight')
            if 'norm' in part:
                names.append(f'{stem}.{part}.bias')
    return names


def timm_state(kind):
    """A synthetic checkpoint: our model's values under timm's names."""
    ours = build(kind).state_dict()
    state = {}
    for name in timm_names(kind):
        key = timm_to_mmwsss_key(name)
        state[name] = torch.zeros(3) if key is None else ours.pop(key)
    assert not ours, 'parameters that no name of timm leads to'
    return state


@pytest.mark.parametrize('timm,ours', [
    ('pos_embed', 'pos_embed'),
    ('dist_token', 'dist_token'),
    ('patch_embed.proj.bias', 'patch_embed.projection.bias'),
    ('patch_embed.backbone.stages.0.blocks.0.downsample.norm.bias',
     'patch_embed.backbone.stages.0.blocks.0.downsample.norm.bias'),
    ('blocks.11.norm1.weight', 'layers.11.ln1.weight'),
    ('blocks.0.norm2.bias', 'layers.0.ln2.bias'),
    ('blocks.3.attn.qkv.bias', 'layers.3.attn.qkv.bias'),
    ('blocks.3.mlp.fc1.weight', 'layers.3.ffn.layers.0.0.weight'),
    ('blocks.3.mlp.fc2.weight', 'layers.3.ffn.layers.1.weight'),
    ('norm.weight', 'ln1.weight'),
    ('cls_head.bias', 'cls_head.fc.bias'),
    ('head.weight', None),
    ('pre_logits.fc.bias', None),
])
def test_key(timm, ours):
    assert timm_to_mmwsss_key(timm) == ours


@pytest.mark.parametrize('name', [
    'layer1.0.conv1.weight', 'blocks.0.ls1.gamma', 'blocks.0.norm3.weight',
    'xpos_embed', 'pos_embedx', 'fc_norm.weight', ''
])
def test_foreign_key(name):
    with pytest.raises(KeyError, match='no parameter of a timm'):
        timm_to_mmwsss_key(name)


@pytest.mark.parametrize('kind', ['plain', 'distilled', 'hybrid'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_round_trip(kind, prefix):
    expected = build(kind).state_dict()
    state = {prefix + k: v for k, v in timm_state(kind).items()}
    converted = convert_timm_vit(state)
    assert converted.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(converted[name], value), name
    build(kind).load_state_dict(converted, strict=True)


def test_describe():
    facts = describe_vit(convert_timm_vit(timm_state('hybrid')))
    assert facts == dict(
        type='HybridViT',
        embed_dims=8,
        num_layers=2,
        feedforward_channels=16,
        distilled=False,
        grid=4,
        stem=dict(layers=[1, 2], channels=[16, 32], stem_channels=8))
    facts = describe_vit(convert_timm_vit(timm_state('distilled')))
    assert facts['type'] == 'AttentionViT'
    assert facts['distilled'] is True
    assert (facts['grid'], facts['patch_size']) == (4, 8)


def test_dropped_heads_are_logged(monkeypatch):
    lines = []
    monkeypatch.setattr('mmwsss.models.converters.timm_vit.print_log',
                        lambda msg, **kwargs: lines.append(msg))
    convert_timm_vit(timm_state('distilled'))
    assert len(lines) == 1
    assert 'Dropped 4 parameters' in lines[0]
    assert 'head_dist.weight' in lines[0]


def test_foreign_checkpoint():
    state = timm_state('plain')
    state['layer4.2.bn3.weight'] = torch.zeros(1)
    with pytest.raises(
            ValueError, match=r'1 of 33 .*: layer4\.2\.bn3\.weight.*another'):
        convert_timm_vit(state)


@pytest.mark.parametrize('missing,ours', [
    ('pos_embed', 'pos_embed'),
    ('blocks.1.mlp.fc1.weight', r'layers\.1\.ffn\.layers\.0\.0\.weight'),
])
def test_incomplete_checkpoint(missing, ours):
    state = timm_state('plain')
    del state[missing]
    with pytest.raises(ValueError, match=f'lacks .*{ours}'):
        convert_timm_vit(state)
    with pytest.raises(ValueError, match='no complete vision transformer'):
        convert_timm_vit({})


def test_already_converted():
    with pytest.raises(ValueError, match='nothing to convert'):
        convert_timm_vit(build('plain').state_dict())


@pytest.mark.parametrize('wrap', [
    lambda s: s, lambda s: dict(model=s), lambda s: dict(
        state_dict=s, epoch=3)
])
def test_file(tmp_path, wrap):
    src, dst = tmp_path / 'timm.pth', tmp_path / 'new' / 'ours.pth'
    torch.save(wrap(timm_state('hybrid')), src)
    meta = convert_checkpoint(src, dst)
    assert meta['source'] == 'timm.pth'
    assert meta['source_sha256'] == hashlib.sha256(
        src.read_bytes()).hexdigest()
    saved = torch.load(dst, weights_only=True)
    assert saved['meta'] == meta
    assert [p.name for p in dst.parent.iterdir()] == ['ours.pth']
    model = HybridViT(
        ARCH,
        stem=STEM,
        img_size=32,
        init_cfg=dict(type='Pretrained', checkpoint=str(dst)))
    model.init_weights()
    assert torch.equal(model.pos_embed, saved['state_dict']['pos_embed'])
    assert torch.equal(
        model.patch_embed.backbone.stem.conv.weight,
        saved['state_dict']['patch_embed.backbone.stem.conv.weight'])


def test_bad_files(tmp_path):
    dst = tmp_path / 'ours.pth'
    with pytest.raises(FileNotFoundError, match='No checkpoint at .*x.pth'):
        convert_checkpoint(tmp_path / 'x.pth', dst)

    src = tmp_path / 'src.pth'
    src.write_bytes(b'<html>not found</html>')
    with pytest.raises(ValueError, match='src.pth'):
        convert_checkpoint(src, dst)
    src.write_bytes(b'')
    with pytest.raises(ValueError, match='src.pth .* cut short'):
        convert_checkpoint(src, dst)
    torch.save(timm_state('plain'), src)
    src.write_bytes(src.read_bytes()[:-1000])
    with pytest.raises(ValueError, match='src.pth .* cut short'):
        convert_checkpoint(src, dst)
    for content in ([1, 2], torch.zeros(3)):
        torch.save(content, src)
        with pytest.raises(ValueError, match='not the dictionary'):
            load_state_dict_file(src)
    for content in ({}, dict(epoch=3)):
        torch.save(content, src)
        with pytest.raises(ValueError, match='no dictionary of named'):
            load_state_dict_file(src)
    torch.save({'fc.weight': torch.zeros(1)}, src)
    with pytest.raises(ValueError, match='src.pth: 1 of 1 parameters'):
        convert_checkpoint(src, dst)
    with pytest.raises(ValueError, match='same file'):
        convert_checkpoint(src, src)
    assert not dst.exists()


def test_trusted_files(tmp_path):
    # Many programs save their arguments beside the weights.
    src, dst = tmp_path / 'src.pth', tmp_path / 'dst.pth'
    state = timm_state('plain')
    torch.save(dict(model=state, args=argparse.Namespace(lr=1)), src)
    with pytest.raises(ValueError, match='refused.*argparse.Namespace'):
        convert_checkpoint(src, dst)
    assert not dst.exists()
    convert_checkpoint(src, dst, trusted=True)
    converted = torch.load(dst, weights_only=True)['state_dict']
    assert torch.equal(converted['pos_embed'], state['pos_embed'])


@pytest.mark.parametrize('tool,kind', [('timm_vit.py', 'hybrid'),
                                       ('deit.py', 'distilled')])
def test_command(tool, kind, tmp_path, monkeypatch, capsys):
    src, dst = tmp_path / 'src.pth', tmp_path / 'dst.pth'
    torch.save(dict(model=timm_state(kind)), src)
    monkeypatch.setattr(sys, 'argv', [tool, str(src), str(dst)])
    runpy.run_path(str(TOOLS / tool), run_name='__main__')
    out = capsys.readouterr().out
    name = 'HybridViT' if kind == 'hybrid' else 'AttentionViT'
    assert f'mmwsss.{name}' in out
    assert f'distilled: {kind == "distilled"}' in out
    assert dst.exists()
    monkeypatch.setattr(sys, 'argv', [tool, str(tmp_path / 'no'), str(dst)])
    with pytest.raises(SystemExit, match='error: No checkpoint'):
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
