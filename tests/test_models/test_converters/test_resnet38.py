import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.models.backbones import ResNet38
from mmwsss.models.converters import resnet38 as converter
from mmwsss.models.converters.resnet38 import (
    convert_resnet38,
    convert_resnet38_file,
    mxnet_to_mmwsss_key,
    read_mxnet_params,
)
from mmwsss.registry import MODELS

TOOL = Path(__file__).parents[3] / 'tools/model_converters/resnet38.py'
CODES = {'float32': 0, 'float64': 1, 'float16': 2, 'uint8': 3, 'int32': 4,
         'int8': 5, 'int64': 6}


def mxnet_file(arrays, version=2):
    """Bytes of a .params file, field by field."""
    out = struct.pack('<QQQ', 0x112, 0, len(arrays))
    for value in arrays.values():
        if version == 2:
            out += struct.pack('<Ii', 0xF993fac9, 0)
        elif version == 1:
            out += struct.pack('<I', 0xF993fac8)
        kind = 'I' if version == 0 else 'q'
        out += struct.pack(f'<I{value.ndim}{kind}', value.ndim, *value.shape)
        if value.ndim:
            out += struct.pack('<iii', 2, 1, CODES[value.dtype.name])
            out += value.tobytes()
    out += struct.pack('<Q', len(arrays))
    for name in arrays:
        out += struct.pack('<Q', len(name)) + name.encode()
    return out


@pytest.fixture
def small(monkeypatch):
    """ResNet38s of 2 base channels, for converter and configs alike."""

    class Small(ResNet38):

        def __init__(self, **kwargs):
            super().__init__(base_channels=2, **kwargs)

    monkeypatch.setattr(converter, 'ResNet38', Small)
    torch.manual_seed(0)
    net = Small()
    for value in net.state_dict().values():
        if value.dim():
            torch.nn.init.normal_(value)
    return net


def mxnet_names(net):
    """A network's tensors under the names of the MXNet model."""
    renamed = dict(weight='gamma', bias='beta', running_mean='moving_mean',
                   running_var='moving_var')
    out = {'arg:linear1000_weight': np.ones((3, 2), np.float32),
           'arg:linear1000_bias': np.ones(3, np.float32)}
    for key, value in net.state_dict().items():
        if key.endswith('num_batches_tracked'):
            continue
        parts = key.split('.')
        if parts[0] == 'conv1a':
            name = 'conv1a_weight'
        elif parts[0] == 'bn7':
            name = f'bn7_{renamed[parts[1]]}'
        else:
            block = parts[0][1:].split('_')
            unit = block[0] + (f'b{block[1]}' if len(block) > 1 else 'a')
            layer, branch = parts[1].split('_')
            kind = parts[2] if layer == 'conv' else renamed[parts[2]]
            name = f'{"res" if layer == "conv" else "bn"}{unit}_{branch}'
            name += f'_{kind}'
        prefix = 'aux' if 'moving' in name else 'arg'
        out[f'{prefix}:{name}'] = value.numpy()
    return out


@pytest.mark.parametrize('version', [0, 1, 2])
def test_read_mxnet_params(tmp_path, version):
    rng = np.random.default_rng(0)
    arrays = {
        f'arg:{name}': rng.integers(0, 99, (2, 3)[:1 + i % 2]).astype(name)
        for i, name in enumerate(CODES)
    }
    if version:
        arrays['none'] = np.empty((), np.float32)
    path = tmp_path / 'a.params'
    path.write_bytes(mxnet_file(arrays, version))
    found = read_mxnet_params(path)
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        if name != 'none':
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)


def test_unreadable_params(tmp_path):
    path = tmp_path / 'a.params'
    with pytest.raises(FileNotFoundError, match='Download it first'):
        read_mxnet_params(path)
    good = mxnet_file({'x': np.ones((4, 4), np.float32)})
    for num_bytes in (0, 7, 23, 60, len(good) - 1):
        path.write_bytes(good[:num_bytes])
        with pytest.raises(ValueError, match='a.params .* ends early'):
            read_mxnet_params(path)
    path.write_bytes(b'PK\x03\x04' * 10)
    with pytest.raises(ValueError, match='does not begin like one'):
        read_mxnet_params(path)
    path.write_bytes(good[:28] + struct.pack('<i', 1) + good[32:])
    with pytest.raises(ValueError, match='sparse'):
        read_mxnet_params(path)


@pytest.mark.parametrize('name, key', [
    ('arg:conv1a_weight', 'conv1a.weight'),
    ('arg:res2a_branch1_weight', 'b2.conv_branch1.weight'),
    ('arg:res4b5_branch2b1_weight', 'b4_5.conv_branch2b1.weight'),
    ('res7a_branch2b2_weight', 'b7.conv_branch2b2.weight'),
    ('arg:bn6a_branch2b2_gamma', 'b6.bn_branch2b2.weight'),
    ('arg:bn3b1_branch2a_beta', 'b3_1.bn_branch2a.bias'),
    ('aux:bn5b2_branch2b1_moving_var', 'b5_2.bn_branch2b1.running_var'),
    ('aux:bn7_moving_mean', 'bn7.running_mean'),
    ('arg:linear1000_bias', None),
])
def test_mxnet_names(name, key):
    assert mxnet_to_mmwsss_key(name) == key


@pytest.mark.parametrize('name', ['arg:res9a_branch1_weight', 'fc.weight'])
def test_foreign_names(name):
    with pytest.raises(KeyError):
        mxnet_to_mmwsss_key(name)


@pytest.mark.parametrize('source', ['mxnet', 'plain', 'prefixed'])
def test_file_to_backbone(tmp_path, small, source):
    expected = small.state_dict()
    if source == 'mxnet':
        src = tmp_path / 'in.params'
        src.write_bytes(mxnet_file(mxnet_names(small)))
    else:
        src = tmp_path / 'in.pth'
        prefix = 'module.backbone.' if source == 'prefixed' else ''
        torch.save(
            {f'{prefix}{k}': v
             for k, v in expected.items()} | {'fc8.weight': torch.ones(2)},
            src)
    convert_resnet38_file(src, tmp_path / 'out.pth')
    net = MODELS.build(
        dict(
            type='mmwsss.ResNet38',
            base_channels=2,
            init_cfg=dict(
                type='Pretrained', checkpoint=str(tmp_path / 'out.pth'))))
    net.init_weights()
    for name, value in net.state_dict().items():
        if value.dim():
            assert torch.equal(value, expected[name]), name


def test_wrong_checkpoints(tmp_path, small):
    state = dict(small.state_dict())
    with pytest.raises(ValueError, match='bn7.bias has the shape'):
        convert_resnet38({**state, 'bn7.bias': torch.ones(3)})
    with pytest.raises(ValueError, match='more than once'):
        convert_resnet38({**state, 'ema.bn7.bias': state['bn7.bias']})
    del state['b3.conv_branch1.weight']
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(
            ValueError, match=r'a\.pth: 1 of .* b3.conv_branch1.weight'):
        convert_resnet38_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    with pytest.raises(ValueError, match='same file'):
        convert_resnet38_file(tmp_path / 'a.pth', tmp_path / 'a.pth')
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_tool(tmp_path, small, monkeypatch, capsys):
    src, dst = tmp_path / 'in.params', tmp_path / 'out.pth'
    src.write_bytes(mxnet_file(mxnet_names(small)))
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(src), str(dst)])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert 'in.params' in capsys.readouterr().out and dst.is_file()
    monkeypatch.setattr(sys, 'argv', [str(TOOL), 'nowhere.pth', str(dst)])
    with pytest.raises(SystemExit, match='error: No checkpoint'):
        runpy.run_path(str(TOOL), run_name='__main__')
