"""SaveMasksHook in a real test of a small model, and --out."""
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from mmwsss.apis.config_edits import set_output
from mmwsss.engine import SaveMasksHook
from mmwsss.registry import HOOKS

from ..test_datasets.builders import METAINFO, make_voc
from .test_output_hooks import LABELS, build


def test_writes_every_mask(tmp_path, monkeypatch):
    data = make_voc(tmp_path / 'data', LABELS)
    out = tmp_path / 'masks'
    runner = build(data, tmp_path / 'work',
                   [dict(type='mmwsss.SaveMasksHook', out_dir=str(out))])
    predicted = {}
    predict = runner.model.predict

    def spy(*args, **kwargs):
        samples = predict(*args, **kwargs)
        for sample in samples:
            predicted[sample.img_id] = sample.pred_sem_seg.data[0].numpy()
        return samples

    monkeypatch.setattr(runner.model, 'predict', spy)
    runner.test()
    assert {p.name for p in out.iterdir()} == {
        'manifest.json', *(f'{i}.png' for i in LABELS)
    }
    for img_id, mask in predicted.items():
        with Image.open(out / f'{img_id}.png') as picture:
            assert picture.mode == 'P' and picture.size == (30, 20)
            assert np.array_equal(np.array(picture), mask)
            assert np.array(picture.getpalette()).reshape(
                -1, 3)[:3].tolist() == METAINFO['palette']
    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['num_images'] == len(LABELS)
    assert manifest['classes'] == list(METAINFO['classes'])


def test_incomplete_without_manifest(tmp_path, monkeypatch):
    data = make_voc(tmp_path / 'data', LABELS)
    out = tmp_path / 'masks'
    out.mkdir()
    (out / 'manifest.json').write_text('old')
    runner = build(data, tmp_path / 'work',
                   [dict(type='mmwsss.SaveMasksHook', out_dir=str(out))])

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.model, 'predict', fail)
    with pytest.raises(KeyboardInterrupt):
        runner.test()
    assert not list(out.iterdir())


class Runner:
    """The little of a runner that the hook touches."""
    model = torch.nn.Linear(1, 1)


def test_samples(tmp_path):
    hook = HOOKS.build(
        dict(type='mmwsss.SaveMasksHook', out_dir=str(tmp_path)))
    assert isinstance(hook, SaveMasksHook)
    mask = torch.tensor([[[0, 3], [255, 1]]])
    sample = SegDataSample(
        metainfo=dict(img_path='images/x.jpg'),
        pred_sem_seg=PixelData(data=mask))
    hook.after_test_iter(Runner, 0, outputs=[sample])
    with Image.open(tmp_path / 'x.png') as picture:
        assert np.array(picture).tolist() == mask[0].tolist()
    with pytest.raises(KeyError, match='Image y: Linear predicts no mask'):
        hook.after_test_iter(
            Runner, 0, outputs=[SegDataSample(metainfo=dict(img_id='y'))])


def test_off_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hook = SaveMasksHook()
    hook.before_test_epoch(None)
    hook.after_test_iter(None, 0, outputs=[SegDataSample()])
    hook.after_test_epoch(None)
    assert not list(tmp_path.iterdir())


def hooks_of(*names):
    return Config(
        dict(
            custom_hooks=[dict(type=f'mmwsss.{name}') for name in names],
            test_evaluator=dict(type='mmseg.IoUMetric')))


def test_out():
    cfg = hooks_of('SaveMasksHook')
    set_output(cfg, 'here')
    assert cfg.custom_hooks[0].out_dir == 'here'
    # The hook writes the masks already.
    assert 'output_dir' not in cfg.test_evaluator

    cfg = hooks_of('SaveCAMsHook', 'GalleryHook', 'SaveMasksHook')
    set_output(cfg, 'here')
    assert cfg.custom_hooks[0].out_dir == 'here/cams'
    assert 'out_dir' not in cfg.custom_hooks[1]
    assert cfg.custom_hooks[2].out_dir == 'here/masks'
