import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.converters.checkpoint_file import convert_file
from mmwsss.models.converters.getam import (
    convert_getam,
    getam_to_mmwsss_key,
)
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import compare_state

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools/model_converters/getam.py'
WIDTH, CLASSES, CHANNELS = 8, 3, 12
FEATURES = (16, 32, 5, 6)


def encoder(hybrid, distilled):
    """GETAM's encoder: timm's names, a final norm and a classifier."""
    shapes = {
        'cls_token': (1, 1, WIDTH),
        'pos_embed': (1, 17 + distilled, WIDTH),
        'norm.weight': (WIDTH, ),
        'norm.bias': (WIDTH, ),
        'head.weight': (1000, WIDTH),
        'patch_embed.proj.bias': (WIDTH, ),
        'patch_embed.proj.weight': (WIDTH, 3, 16, 16)
    }
    if distilled:
        shapes['dist_token'] = (1, 1, WIDTH)
    if hybrid:
        shapes['patch_embed.proj.weight'] = (WIDTH, 32, 1, 1)
        stem = dict(stem_out_indices=(0, 1), stem=STEM)
        for name, value in backbone(**stem).state_dict().items():
            if name.startswith('patch_embed.backbone.'):
                shapes[name] = tuple(value.shape)
    for i in range(4):
        shapes.update({
            f'blocks.{i}.{name}': shape
            for name, shape in {
                'norm1.weight': (WIDTH, ),
                'norm1.bias': (WIDTH, ),
                'attn.qkv.weight': (3 * WIDTH, WIDTH),
                'attn.qkv.bias': (3 * WIDTH, ),
                'attn.proj.weight': (WIDTH, WIDTH),
                'attn.proj.bias': (WIDTH, ),
                'norm2.weight': (WIDTH, ),
                'norm2.bias': (WIDTH, ),
                'mlp.fc1.weight': (10, WIDTH),
                'mlp.fc1.bias': (10, ),
                'mlp.fc2.weight': (WIDTH, 10),
                'mlp.fc2.bias': (WIDTH, )
            }.items()
        })
    return {f'pretrained.model.{k}': v for k, v in shapes.items()}


def published(hybrid=False, distilled=False):
    """A small network with the names of GETAM's code."""
    shapes = encoder(hybrid, distilled)

    def conv(name, out, inside, kernel, bias=True):
        shapes[f'{name}.weight'] = (out, inside, kernel, kernel)
        if bias:
            shapes[f'{name}.bias'] = (out, )

    def norm(name):
        for kind in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{name}.{kind}'] = (CHANNELS, )

    for i, f in enumerate(FEATURES, 1):
        if not (hybrid and i < 3):
            post = f'pretrained.act_postprocess{i}'
            shapes[f'{post}.0.project.0.weight'] = (WIDTH, 2 * WIDTH)
            shapes[f'{post}.0.project.0.bias'] = (WIDTH, )
            conv(f'{post}.3', f, WIDTH, 1)
            if i != 3:
                conv(f'{post}.4', f, f, {1: 4, 2: 2, 4: 3}[i])
        conv(f'scratch.layer{i}_rn', CHANNELS, f, 3, bias=False)
        conv(f'scratch.refinenet{i}.out_conv', CHANNELS, CHANNELS, 1)
        for unit in (1, 2):
            name = f'scratch.refinenet{i}.resConfUnit{unit}'
            for k in (1, 2):
                conv(f'{name}.conv{k}', CHANNELS, CHANNELS, 3, bias=False)
                norm(f'{name}.bn{k}')
    conv('scratch.output_conv.0', CHANNELS, CHANNELS, 3, bias=False)
    norm('scratch.output_conv.1')
    conv('scratch.output_conv.4', CLASSES + 1, CHANNELS, 1)
    shapes['cam_module.fc.0.weight'] = (3, CHANNELS)
    shapes['cam_module.fc.2.weight'] = (CHANNELS, 3)
    conv('cam_module.body.0', CHANNELS, CHANNELS, 3)
    conv('cam_module.body.2', CHANNELS, CHANNELS, 3)
    shapes['cls_head.weight'] = (CLASSES, FEATURES[3])
    shapes['cls_head.bias'] = (CLASSES, )
    torch.manual_seed(0)
    return {name: torch.rand(shape) for name, shape in shapes.items()}


STEM = dict(layers=(1, 1), channels=FEATURES[:2], stem_channels=8)


def backbone(**kwargs):
    cfg = dict(
        type='mmwsss.AttentionViT',
        img_size=64,
        out_indices=(0, 1, 2, 3),
        arch=dict(
            embed_dims=WIDTH,
            num_layers=4,
            num_heads=2,
            feedforward_channels=10))
    if 'stem' in kwargs:
        # A stem of stride 8.
        cfg.update(type='mmwsss.HybridViT', img_size=32, out_indices=(2, 3))
    cfg.update(kwargs)
    return MODELS.build(cfg)


def build(hybrid=False, distilled=False):
    more = dict(distilled=distilled)
    if hybrid:
        more = dict(stem=STEM, stem_out_indices=(0, 1))
    parts = dict(
        backbone=backbone(**more),
        neck=MODELS.build(
            dict(
                type='mmwsss.DPTReassemble',
                in_channels=WIDTH,
                out_channels=FEATURES,
                num_stem_maps=2 if hybrid else 0)),
        cls_head=MODELS.build(
            dict(
                type='mmwsss.CAMHead',
                num_classes=CLASSES,
                in_channels=FEATURES[3],
                bias=True)),
        decode_head=MODELS.build(
            dict(
                type='mmwsss.DPTDecoderHead',
                in_channels=FEATURES,
                channels=CHANNELS,
                reduction=4,
                num_classes=CLASSES + 1)))
    return torch.nn.ModuleDict(parts)


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('kind', [
    dict(), dict(distilled=True), dict(hybrid=True)
], ids=['vit', 'distilled', 'hybrid'])
def test_file_to_model(tmp_path, kind, prefix):
    src, dst = tmp_path / 'in.pth', tmp_path / 'out.pth'
    theirs = published(**kind)
    torch.save({f'{prefix}{k}': v for k, v in theirs.items()}, src)
    meta = convert_file(src, dst, convert_getam)
    assert meta['source'] == 'in.pth' and len(meta['source_sha256']) == 64
    state = torch.load(dst, weights_only=True)['state_dict']
    model = build(**kind)
    comparison = compare_state(model, state)
    assert not comparison.missing and not comparison.unexpected
    model.load_state_dict(state, strict=True)
    ours = model.state_dict()
    # Every number once and nowhere else, but for what nobody uses.
    unused = ('scratch.refinenet4.resConfUnit1', 'pretrained.model.head',
              'pretrained.model.norm.')
    kept = [v for k, v in theirs.items() if not k.startswith(unused)]
    counters = [k for k in ours if k.endswith('num_batches_tracked')]
    assert len(counters) == 15 and all(ours[k] == 0 for k in counters)
    assert sorted(float(v.double().sum()) for v in kept) == sorted(
        float(v.double().sum()) for k, v in ours.items()
        if k not in counters)
    for name, key in {
            'cls_head.weight': 'cls_head.conv.weight',
            'pretrained.act_postprocess4.3.bias': 'neck.taps.3.project.bias',
            'pretrained.act_postprocess4.4.bias': 'neck.taps.3.resize.bias',
            'scratch.layer1_rn.weight': 'decode_head.convs.0.weight',
            'scratch.refinenet2.resConfUnit1.bn2.running_var':
            'decode_head.fusions.1.res_conv_unit1.conv2.bn.running_var',
            'scratch.output_conv.4.bias': 'decode_head.conv_seg.bias',
            'pretrained.model.blocks.2.mlp.fc2.bias':
            'backbone.layers.2.ffn.layers.1.bias'
    }.items():
        assert_close(ours[key].flatten(), theirs[name].flatten())


def test_counters_of_the_checkpoint_are_kept():
    state = published()
    state['scratch.output_conv.1.num_batches_tracked'] = torch.tensor(7)
    converted = convert_getam(state)
    assert converted['decode_head.project.bn.num_batches_tracked'] == 7


def test_wrong_checkpoints(tmp_path):
    path = tmp_path / 'a.pth'
    one = torch.ones(1)
    cases = [
        ({'scratch.refinenet5.out_conv.bias': one}, [],
         r'network has no scratch.refinenet5.out_conv.bias\.'),
        ({'auxlayer.0.weight': one}, [], r'network has no auxlayer'),
        ({}, ['cls_head.bias'], r'lacks .* cls_head.conv.bias'),
        ({}, ['pretrained.act_postprocess1.4.weight'],
         r'lacks .* neck.taps.0.resize.weight'),
        ({}, ['pretrained.model.blocks.1.norm1.bias'],
         r'lacks .* layers.1.ln1.bias'),
    ]
    for changes, without, message in cases:
        state = {k: v for k, v in published().items() if k not in without}
        torch.save({**state, **changes}, path)
        with pytest.raises(ValueError, match=f'a.pth: .*{message}'):
            convert_file(path, tmp_path / 'b.pth', convert_getam)
    with pytest.raises(ValueError, match='encoder .* not found'):
        convert_getam({'cls_head.bias': one})
    with pytest.raises(ValueError, match='encoder .* not found'):
        convert_getam({})
    with pytest.raises(ValueError, match='same file'):
        convert_file(path, path, convert_getam)
    with pytest.raises(KeyError, match='no parameter of GETAM'):
        getam_to_mmwsss_key('scratch.layer5_rn.weight')
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_tool(tmp_path, monkeypatch, capsys):
    src, dst = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(published(), src)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(src), str(dst)])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert 'in.pth' in capsys.readouterr().out and dst.is_file()
    monkeypatch.setattr(sys, 'argv', [str(TOOL), 'nowhere.pth', str(dst)])
    with pytest.raises(SystemExit, match='error: No checkpoint'):
        runpy.run_path(str(TOOL), run_name='__main__')
