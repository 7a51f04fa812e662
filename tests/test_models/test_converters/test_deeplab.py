"""ResNets of DeepLab become backbones of mmseg."""
import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.backbones import ResNet

from mmwsss.models.converters.checkpoint_file import (
    convert_file,
    load_state_dict_file,
)
from mmwsss.models.converters.deeplab import (
    convert_deeplab_resnet,
)

TOOL = Path(__file__).parents[3] / 'tools/model_converters/deeplab_resnet.py'
# As DeepLab builds it: (blocks, width, stride, dilation) of layer2 to layer5.
STAGES = ((3, 64, 1, 1), (4, 128, 2, 1), (6, 256, 1, 2), (3, 512, 1, 4))


def layer(state, name, c_in, c_out, size):
    state[f'{name}.conv.weight'] = torch.randn(c_out, c_in, size, size) * (
        2 / (c_in * size * size))**0.5
    state[f'{name}.bn.weight'] = torch.rand(c_out) + 0.5
    state[f'{name}.bn.bias'] = torch.randn(c_out) / 10
    state[f'{name}.bn.running_mean'] = torch.randn(c_out) / 10
    state[f'{name}.bn.running_var'] = torch.rand(c_out) + 0.5


def make_state():
    torch.manual_seed(0)
    state = {}
    layer(state, 'layer1.conv1', 3, 64, 7)
    c_in = 64
    for i, (blocks, width, _, _) in enumerate(STAGES):
        for j in range(blocks):
            name = f'layer{i + 2}.block{j + 1}'
            layer(state, f'{name}.reduce', c_in, width, 1)
            layer(state, f'{name}.conv3x3', width, width, 3)
            layer(state, f'{name}.increase', width, 4 * width, 1)
            if j == 0:
                layer(state, f'{name}.shortcut', c_in, 4 * width, 1)
            c_in = 4 * width
    state['fc.weight'] = torch.zeros(21, 2048, 1, 1)
    return state


def run(state, x):
    """DeepLab's ResNet written out."""

    def unit(name, x, stride=1, padding=0, dilation=1):
        x = F.conv2d(x, state[f'{name}.conv.weight'], None, stride, padding,
                     dilation)
        bn = f'{name}.bn.'
        return F.batch_norm(x, state[bn + 'running_mean'],
                            state[bn + 'running_var'], state[bn + 'weight'],
                            state[bn + 'bias'])

    x = F.max_pool2d(unit('layer1.conv1', x, 2, 3).relu(), 3, 2, 1)
    for i, (blocks, _, stride, dilation) in enumerate(STAGES):
        for j in range(blocks):
            name = f'layer{i + 2}.block{j + 1}'
            s = stride if j == 0 else 1
            h = unit(f'{name}.reduce', x, s).relu()
            h = unit(f'{name}.conv3x3', h, 1, dilation, dilation).relu()
            h = unit(f'{name}.increase', h)
            x = (h + (unit(f'{name}.shortcut', x, s) if j == 0 else x)).relu()
    return x


@pytest.mark.parametrize('prefix', ['', 'base.', 'module.scale.'])
def test_same_features(tmp_path, prefix):
    state = make_state()
    src, dst = tmp_path / 'coco.pth', tmp_path / 'out.pth'
    torch.save({prefix + k: v for k, v in state.items()}, src)
    meta = convert_file(src, dst, convert_deeplab_resnet)
    assert meta['source'] == 'coco.pth'
    assert len(load_state_dict_file(dst)) == len(state) - 1
    model = ResNet(
        50,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        out_indices=(3, ),
        style='caffe',
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=str(dst)))
    model.init_weights()
    model.eval()
    x = torch.randn(1, 3, 41, 33)
    with torch.no_grad():
        expected = run(state, x)
        assert torch.allclose(
            model(x)[0], expected, atol=1e-4 * expected.max())


def test_errors(tmp_path, monkeypatch):
    state = make_state()
    del state['layer5.block1.shortcut.conv.weight']
    with pytest.raises(ValueError, match=r'lacks.*layer4\.0\.downsample\.0'):
        convert_deeplab_resnet(state)
    with pytest.raises(ValueError, match='no ResNet of DeepLab'):
        convert_deeplab_resnet({'layer1.0.conv1.weight': torch.zeros(1)})
    src = tmp_path / 'x.pth'
    with pytest.raises(ValueError, match='same file'):
        convert_file(src, src, convert_deeplab_resnet)
    monkeypatch.setattr(sys, 'argv', ['tool', str(src), 'y.pth'])
    with pytest.raises(SystemExit, match='error: No checkpoint at'):
        runpy.run_path(str(TOOL), run_name='__main__')
