"""SEAM's training data and schedule against what the paper's code does."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from mmwsss.datasets.transforms import PlaceCrop
from mmwsss.registry import MODELS

from .test_tools import ROOT

BASE = ROOT / 'configs/_base_'


def pipeline():
    """Training transforms between reading and packing, and the loader."""
    cfg = Config.fromfile(BASE / 'datasets/voc_448.py')
    loader = cfg.train_dataloader
    assert loader.batch_size == 8 and loader.drop_last
    assert loader.dataset.ann_file.endswith('train_aug.txt')
    assert cfg.val_dataloader.dataset.ann_file.endswith('/train.txt')
    steps = loader.dataset.pipeline
    assert steps[0].type == 'mmwsss.LoadImage'
    assert steps[-1].type == 'mmwsss.PackWSSSInputs'
    return steps[1:-1]


@pytest.mark.parametrize('size', [(375, 500), (500, 100), (448, 448)])
def test_training_image(size):
    steps = pipeline()
    resize, place = steps[0], Compose(steps[1:])
    image = np.full((*size, 3), 77, np.uint8)
    seen = set()
    for _ in range(3):
        results = Compose([resize])(dict(img=image.copy()))
        long_side = max(results['img'].shape)
        assert 448 <= long_side <= 768
        short_side = min(results['img'].shape[:2])
        assert abs(short_side - min(size) * long_side / max(size)) <= 0.51
        results = place(results)
        assert results['img'].shape == (448, 448, 3)
        shown = results['valid_mask'] > 0
        assert shown.sum() == min(short_side, 448) * min(long_side, 448)
        seen.add(float(results['img'][shown][0, 0]))
    assert len(seen) > 1  # Colours are jittered.


def test_padding_is_zero_after_normalisation():
    crop = PlaceCrop(size=448)
    results = crop(dict(img=np.full((20, 448, 3), 9, np.uint8)))
    model = Config.fromfile(BASE / 'models/cam_r50.py')
    preprocess = MODELS.build(model.data_preprocessor)
    inputs = torch.from_numpy(results['img']).permute(2, 0, 1)
    out = preprocess(dict(inputs=[inputs]))['inputs'][0]
    shown = torch.from_numpy(results['valid_mask']) > 0
    assert out[:, ~shown].abs().max() < 1e-6
    assert out[:, shown].abs().min() > 1
