"""VWL's training data and schedule against what the paper's code does."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mmwsss.registry import MODELS

from .test_tools import ROOT


def load(variant):
    cfg = Config.fromfile(ROOT / f'configs/vwl/vwl-{variant}_r101_voc.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    return cfg


@pytest.mark.parametrize('variant', ['l', 'm'])
def test_what_is_trained_and_how_fast(variant):
    cfg = load(variant)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model.train()
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {}
    for group in wrapper.optimizer.param_groups:
        assert group['momentum'] == group['weight_decay'] == 1e-4
        for param in group['params']:
            if param.requires_grad:
                rates[names[id(param)]] = group['lr']
    frozen = ('backbone.conv1', 'backbone.bn1')
    if variant == 'l':
        frozen += ('backbone.layer1', 'backbone.layer2')
    for name in names.values():
        if name.startswith(frozen):
            assert name not in rates
        elif name.startswith('backbone.'):
            # Scales and shifts of batch norm learn as well.
            assert rates[name] == 0.01
        else:
            assert rates[name] == pytest.approx(0.1)
    heads = {n for n in rates if not n.startswith('backbone.')}
    words = 'regularizers.vwl.'
    assert heads == {
        'cls_head.conv.weight', f'{words}word_head.weight',
        *((f'{words}codebook', f'{words}histogram_head.weight')
          if variant == 'l' else ())
    }
    assert f'{words}codebook' in model.state_dict()
    assert not any(m.training for m in model.backbone.modules()
                   if isinstance(m, torch.nn.BatchNorm2d))


def test_classifier_starts_as_torch_would():
    cfg = load('l')
    head = MODELS.build(cfg.model.cls_head)
    head.init_weights()
    bound = 2048**-0.5
    weights = head.conv.weight.detach().flatten()
    assert 0.99 * bound < weights.abs().max() <= bound
    # Uniform: a third of the bound's square.
    assert weights.square().mean() == pytest.approx(bound**2 / 3, rel=0.02)


@pytest.mark.parametrize('size', [(375, 500), (500, 100), (512, 512)])
def test_training_image(size):
    loader = load('m').train_dataloader
    assert loader.batch_size == 16 and loader.drop_last
    assert loader.dataset.ann_file.endswith('train_aug.txt')
    steps = loader.dataset.pipeline
    assert steps[0].type == 'mmwsss.LoadImage'
    assert steps[-1].type == 'mmwsss.PackWSSSInputs'
    resize, rest = Compose(steps[1:2]), Compose(steps[2:-1])
    image = np.full((*size, 3), 77, np.uint8)
    sides = set()
    for seed in range(4):
        np.random.seed(seed)
        results = resize(dict(img=image.copy()))
        long_side = max(results['img'].shape)
        sides.add(long_side)
        assert 320 <= long_side <= 640
        short_side = min(results['img'].shape[:2])
        assert abs(short_side - min(size) * long_side / max(size)) <= 0.51
        results = rest(results)
        assert results['img'].shape == (512, 512, 3)
        shown = results['valid_mask'] > 0
        assert shown.sum() == min(short_side, 512) * min(long_side, 512)
        # No colour jitter.
        assert (results['img'][shown] == 77).all()
    assert len(sides) > 1
