import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmwsss.models.backbones import ResNet38
from mmwsss.models.converters import resnet38 as converter
from mmwsss.models.converters.checkpoint_file import convert_file
from mmwsss.models.converters.seam import convert_seam
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import compare_state

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools/model_converters/seam.py'
BASE = 2  # Channels of the first layer, 64 in the published network


@pytest.fixture
def published(monkeypatch):
    """A narrow network with the names and layers of SEAM's code."""

    class Small(ResNet38):

        def __init__(self, **kwargs):
            super().__init__(base_channels=BASE, **kwargs)

    monkeypatch.setattr(converter, 'ResNet38', Small)
    torch.manual_seed(0)
    state = {}
    for key, value in Small().state_dict().items():
        if key.endswith('running_var'):
            state[key] = torch.rand_like(value) + 0.5
        elif value.ndim == 4:
            fan_in = value[0].numel()
            state[key] = torch.randn_like(value) * (2 / fan_in)**0.5
        elif value.ndim:
            state[key] = torch.randn_like(value) * 0.1 + (
                1. if key.endswith('weight') else 0.)
    for name, shape in dict(
            fc8=(21, 64 * BASE), f8_3=(4, 8 * BASE), f8_4=(5, 16 * BASE),
            f9=(6, 3 + 4 + 5)).items():
        state[f'{name}.weight'] = torch.randn(*shape, 1, 1) / shape[1]**0.5
    return state


def build():
    """The model of the config, as narrow."""
    cfg = Config.fromfile(ROOT / 'configs/seam/seam_resnet38_voc.py').model
    cfg.backbone.update(base_channels=BASE, init_cfg=None)
    cfg.cls_head.in_channels = 64 * BASE
    cfg.refiner.update(
        in_channels=(8 * BASE, 16 * BASE), channels=(4, 5), query_channels=6)
    return MODELS.build(cfg).eval()


def published_forward(state, image):
    """SEAM's network in evaluation: raw and refined maps at input size."""
    net = ResNet38(base_channels=BASE).eval()
    net.load_state_dict(
        {k: v for k, v in state.items() if k in net.state_dict()},
        strict=False)
    conv4, conv5, conv6 = net(image)
    cam = F.conv2d(conv6, state['fc8.weight'])
    maps = cam.relu()
    top = maps.amax((2, 3), keepdim=True) + 1e-5
    maps = (maps - 1e-5).relu() / top
    best = maps[:, 1:].amax(1, keepdim=True)
    maps = torch.cat(
        (1 - best, torch.where(maps[:, 1:] < best, 0., maps[:, 1:])), 1)
    size = cam.shape[2:]
    feat = torch.cat((
        F.interpolate(image, size, mode='bilinear', align_corners=True),
        F.conv2d(conv4, state['f8_3.weight']).relu(),
        F.conv2d(conv5, state['f8_4.weight']).relu(),
    ), 1)
    feat = F.conv2d(feat, state['f9.weight']).flatten(2)
    feat = feat / (feat.norm(dim=1, keepdim=True) + 1e-5)
    affinity = (feat.mT @ feat).relu()
    affinity = affinity / (affinity.sum(1, keepdim=True) + 1e-5)
    return cam, (maps.flatten(2) @ affinity).unflatten(2, size)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_file_to_model(tmp_path, published, prefix):
    src, dst = tmp_path / 'in.pth', tmp_path / 'out.pth'
    state = {f'{prefix}{k}': v for k, v in published.items()}
    state[f'{prefix}bn7.num_batches_tracked'] = torch.tensor(0)
    torch.save(state, src)
    meta = convert_file(src, dst, convert_seam)
    assert meta['source'] == 'in.pth' and len(meta['source_sha256']) == 64
    content = torch.load(dst, weights_only=True)
    model = build()
    comparison = compare_state(model, content['state_dict'])
    assert not comparison.missing and not comparison.unexpected
    model.load_state_dict(content['state_dict'], strict=True)
    # Not the background's row of 21.
    assert content['state_dict']['cls_head.conv.weight'].shape[0] == 20
    with torch.no_grad():
        image = torch.randn(2, 3, 70, 45)
        cam, refined = published_forward(published, image)
        view = model.forward_view(image)
        assert view.cams.std() > 0.01
        torch.testing.assert_close(view.cams, cam[:, 1:])
        torch.testing.assert_close(
            view.refined_cams, refined, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(refined[:, 1:], cam[:, 1:], atol=0.01)


def test_wrong_checkpoints(tmp_path, published):
    path = tmp_path / 'a.pth'
    fc8 = published['fc8.weight']
    cases = [
        (dict(), ['f9.weight'], r'layer f9.weight not found'),
        (dict(), ['f8_3.weight', 'f8_4.weight'],
         r'layers f8_3.weight, f8_4.weight not found'),
        (dict(), ['b4_2.conv_branch2a.weight'],
         r'missing, e.g. b4_2.conv_branch2a.weight'),
        ({'f8_5.weight': fc8}, [], r'network has no f8_5.weight\.'),
        ({'fc8.weight': fc8[:, 1:]}, [], r'fc8.weight has the shape'),
        ({'fc8.weight': fc8[:1]}, [], r'fc8.weight has the shape'),
        ({'f9.weight': fc8[:6, :11]}, [],
         r'f9.weight has the shape \(6, 11, 1, 1\), .* needs \(6, 12, 1, 1'),
        ({'bn7.bias': torch.ones(3)}, [], r'bn7.bias has the shape'),
    ]
    for changes, without, message in cases:
        state = {k: v for k, v in published.items() if k not in without}
        torch.save({**state, **changes}, path)
        with pytest.raises(ValueError, match=f'a.pth: .*{message}'):
            convert_file(path, tmp_path / 'b.pth', convert_seam)
    with pytest.raises(ValueError, match='not found'):
        convert_seam({})
    with pytest.raises(ValueError, match='same file'):
        convert_file(path, path, convert_seam)
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_tool(tmp_path, published, monkeypatch, capsys):
    src, dst = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(published, src)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(src), str(dst)])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert 'in.pth' in capsys.readouterr().out and dst.is_file()
    monkeypatch.setattr(sys, 'argv', [str(TOOL), 'nowhere.pth', str(dst)])
    with pytest.raises(SystemExit, match='error: No checkpoint'):
        runpy.run_path(str(TOOL), run_name='__main__')
