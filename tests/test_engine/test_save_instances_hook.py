"""SaveInstancesHook in a real test of a small IRNet, and --out."""
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample

from mmwsss.apis.config_edits import set_output
from mmwsss.engine import SaveInstancesHook
from mmwsss.pseudo_labels import read_instances
from mmwsss.registry import HOOKS

from .irnet_run import LABELS, SIZE, build, make_data
from .test_save_masks_hook import Runner as Bare
from .test_save_masks_hook import hooks_of


def test_writes_every_image(tmp_path, monkeypatch):
    data, out = make_data(tmp_path / 'data'), tmp_path / 'out'
    runner = build(data, tmp_path / 'save_instances', [
        dict(type='mmwsss.DisplacementMeanHook'),
        dict(type='mmwsss.SaveInstancesHook', out_dir=str(out))
    ])
    predicted = {}
    predict = runner.model.predict

    def spy(*args, **kwargs):
        samples = predict(*args, **kwargs)
        predicted.update({s.img_id: s.pred_instances for s in samples})
        return samples

    monkeypatch.setattr(runner.model, 'predict', spy)
    metrics = runner.test()
    assert set(metrics) == {'AP50'}
    assert {p.name for p in out.iterdir()} == {
        'manifest.json', *(f'{i}.json' for i in LABELS)
    }
    for img_id, found in predicted.items():
        file = read_instances(out / f'{img_id}.json', 2, SIZE)
        assert np.array_equal(file.masks, found.masks)
        assert np.array_equal(file.labels, found.labels)
        np.testing.assert_allclose(file.scores, found.scores, rtol=1e-5)
    assert len(predicted['b']) > 0 and len(predicted['c']) == 0
    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['num_images'] == 3
    assert manifest['classes'] == ['background', 'cat', 'dog']

    # A second test that is cut off leaves no manifest, but whole files.
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.model, 'predict', fail)
    with pytest.raises(KeyboardInterrupt):
        runner.test()
    assert {p.name for p in out.iterdir()} == {f'{i}.json' for i in LABELS}


def test_samples(tmp_path):
    hook = HOOKS.build(
        dict(type='mmwsss.SaveInstancesHook', out_dir=str(tmp_path)))
    assert isinstance(hook, SaveInstancesHook)
    masks = torch.rand(2, 3, 4) < 0.5
    sample = SegDataSample(metainfo=dict(img_path='images/x.jpg'))
    sample.pred_instances = InstanceData(
        masks=masks, labels=torch.tensor([4, 0]), scores=torch.rand(2))
    hook.after_test_iter(Bare, 0, outputs=[sample])
    assert np.array_equal(read_instances(tmp_path / 'x.json').masks, masks)
    with pytest.raises(KeyError, match='Image y: Linear predicts no inst'):
        hook.after_test_iter(
            Bare, 0, outputs=[SegDataSample(metainfo=dict(img_id='y'))])


def test_off_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hook = SaveInstancesHook()
    hook.before_test_epoch(None)
    hook.after_test_iter(None, 0, outputs=[SegDataSample()])
    hook.after_test_epoch(None)
    assert not list(tmp_path.iterdir())


def test_out():
    cfg = hooks_of('SaveMasksHook', 'SaveInstancesHook')
    set_output(cfg, 'here')
    assert [hook.out_dir for hook in cfg.custom_hooks
            ] == ['here/masks', 'here/instances']
    cfg = hooks_of('SaveInstancesHook')
    cfg.test_evaluator.type = 'mmwsss.InstanceAP'
    set_output(cfg, 'here')
    assert cfg.custom_hooks[0].out_dir == 'here'
