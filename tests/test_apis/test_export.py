"""Exported models, run by other programs."""
import json
import runpy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmwsss.apis.cam_inferencer import CAMInferencer
from mmwsss.apis.export import export_model, exportable, run_exported
from mmwsss.registry import MODELS
from mmwsss.utils.read_images import read_image

from ..test_datasets.builders import make_voc
from ..test_engine.test_output_hooks import make_cfg
from ..toy import ROOT
from .test_cam_inferencer import _restore_loader, save  # noqa: F401

SIZE = (20, 30)
FORMATS = ['x.onnx', 'x.pt']


def config(tmp_path, **model):
    data = make_voc(tmp_path / 'data', {'a': [0], 'b': [0, 1]}, SIZE)
    cfg = make_cfg(data, tmp_path / 'run', [])
    steps = cfg['test_dataloader']['dataset']['pipeline']
    steps[1:3] = []  # No resize, no flip: the picture as it is.
    cfg['model'].update(
        data_preprocessor=dict(cfg['model']['data_preprocessor'], size=None,
                               size_divisor=1),
        localizer=dict(type='mmwsss.CAM'),
        test_cfg=dict(scales=(1., 1.5), flip=True, tag_threshold=0.), **model)
    return cfg, data


def run(path, weights, out, *options):
    parse = runpy.run_path(str(ROOT / 'tools/export_model.py'))['parse_args']
    return export_model(**vars(parse([
        path, weights, '--out', str(out), '--size', *map(str, SIZE), *options
    ])))


@pytest.mark.parametrize('name, head', [
    *((name, None) for name in FORMATS), ('x.pt', 'MultiClassTokenHead'),
    ('x.pt', 'WeightedAttentionHead')])
def test_maps(tmp_path, name, head):
    """What another program computes is what tools/infer.py writes."""
    if name.endswith('.onnx'):
        pytest.importorskip('onnx')
        pytest.importorskip('onnxruntime')
    cfg, data = config(tmp_path)
    if head is not None:  # Attention that is read without gradients.
        model = cfg['model']
        model['backbone'] = dict(model['backbone'], num_class_tokens=2)
        model['cls_head'] = dict(model['cls_head'], type=f'mmwsss.{head}')
        model['localizer'] = dict(type='mmwsss.ClassAttentionCAM')
        if head == 'WeightedAttentionHead':
            arch = model['backbone']['arch']
            model['cls_head']['head_weights'] = dict(
                type='mmwsss.AttentionHeadWeights',
                num_layers=arch['num_layers'],
                num_heads=arch['num_heads'],
                reduction=2)
            model['localizer'] = dict(type='mmwsss.WeightedAttentionCAM')
    path, weights = save(cfg, tmp_path)
    facts = run(path, weights, tmp_path / name)
    assert max(facts['differences'].values()) < 1e-3
    assert facts == json.loads((tmp_path / f'{name}.json').read_text())
    assert facts['classes'] == ['background', 'cat', 'dog']
    assert facts['threshold'] == 0.4
    image = read_image(data / 'JPEGImages/b.jpg', 'b')
    cams, scores = run_exported(
        tmp_path / name, image.transpose(2, 0, 1)[None].astype(np.float32))
    inferencer = CAMInferencer(
        path, weights, device='cpu', show_progress=False)
    ours = inferencer(image)['predictions'][0]
    assert ours['tags'] == ['cat', 'dog'] and ours['cams'].std() > 0.05
    np.testing.assert_allclose(cams[0], ours['cams'], atol=1e-3)
    np.testing.assert_allclose(scores[0], list(ours['scores'].values()),
                               atol=1e-4)


@pytest.mark.parametrize('name', FORMATS)
def test_logits(tmp_path, name):
    if name.endswith('.onnx'):
        pytest.importorskip('onnx')
        pytest.importorskip('onnxruntime')
    cfg = Config.fromfile(
        ROOT / 'configs/segmentation/fcn_shapes.py').to_dict()
    path, weights = save(cfg, tmp_path)
    facts = run(path, weights, tmp_path / name)
    assert facts['outputs'] == ['logits'] and facts['threshold'] is None
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    logits, = run_exported(
        tmp_path / name, image.transpose(2, 0, 1)[None].astype(np.float32))
    inferencer = CAMInferencer(
        path, weights, device='cpu', show_progress=False)
    probs = inferencer(image, return_probs=True)['predictions'][0]['probs']
    theirs = torch.from_numpy(logits[0]).softmax(0).numpy()
    np.testing.assert_allclose(theirs, probs, atol=1e-3)


def test_refusal(tmp_path):
    """GETAM differentiates, which no exported network can."""
    cfg, _ = config(tmp_path)
    cfg['model']['localizer'] = dict(type='mmwsss.GETAM', start_layer=1)
    with pytest.raises(ValueError, match='no gradients.*mmwsss.CAM'):
        exportable(MODELS.build(cfg['model']))
    path, weights = save(cfg, tmp_path)
    with pytest.raises(ValueError, match='no gradients'):
        run(path, weights, tmp_path / 'x.pt')
    assert not (tmp_path / 'x.pt').exists()


def test_what_another_program_gets_wrong_is_removed(tmp_path, monkeypatch):
    cfg, _ = config(tmp_path)
    path, weights = save(cfg, tmp_path)
    monkeypatch.setattr('mmwsss.apis.export.largest_difference',
                        lambda *args: dict(cams=0.1))
    with pytest.raises(ValueError, match='differs from the model'):
        run(path, weights, tmp_path / 'x.pt')
    assert not (tmp_path / 'x.pt').exists()


def test_onnx_without_the_package(tmp_path, monkeypatch):
    cfg, _ = config(tmp_path)
    path, weights = save(cfg, tmp_path)
    find_spec = __import__('importlib.util').util.find_spec
    monkeypatch.setattr(
        'importlib.util.find_spec', lambda name, *args: None
        if name == 'onnx' else find_spec(name, *args))
    with pytest.raises(ValueError, match='pip install onnx'):
        run(path, weights, tmp_path / 'x.onnx')
