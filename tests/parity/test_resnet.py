"""MMSegmentation's ResNets as VWL's configs set them, procedural weights."""
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmwsss.registry import MODELS
from tests.test_tools import ROOT

from .test_resnet38 import procedural

FAMILIES = ('resnet50_s16_forward', 'resnet101_s16_forward')


def test_resnet_of_output_stride_16(vector):
    depth = 101 if vector.name.startswith('resnet101') else 50
    cfg = Config.fromfile(ROOT / f'configs/vwl/vwl-l_r{depth}_voc.py')
    init_default_scope(cfg.default_scope)
    backbone = dict(
        cfg.model.backbone, init_cfg=None, out_indices=(0, 1, 2, 3))
    assert backbone['depth'] == depth
    # Statistics of batch norm are ImageNet's in training as well.
    net = MODELS.build(backbone)
    net.train()
    assert not any(m.training for m in net.modules()
                   if isinstance(m, torch.nn.BatchNorm2d))
    net.load_state_dict(
        {
            k: procedural(k, v.shape)
            for k, v in net.state_dict().items() if v.dim()
        },
        strict=False)
    with torch.no_grad():
        outs = net(torch.from_numpy(vector['x']))
    for i, out in enumerate(outs, start=1):
        expected = vector[f'layer{i}_sub']
        error = np.abs(out[:, ::out.shape[1] // 16].numpy() - expected).max()
        assert error <= 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(
            [out.mean(), out.std(), out.abs().max()],
            vector[f'f64_layer{i}_mean_std_absmax'],
            rtol=1e-4)
