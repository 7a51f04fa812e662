"""FBR's configs against the recipes of the published code."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.apis.run import pretrained_paths

from .test_tools import ROOT

FOLDER = ROOT / 'configs/fbr'
FBR = 'mmwsss.FineGrainedBackgroundContrast'


def load(name):
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    init_default_scope(cfg.default_scope)
    for where, _ in pretrained_paths(cfg.get('model', {})):
        cfg.merge_from_dict({where: None})  # The weights are not here.
    return cfg


def rates(cfg):
    """Learning rate and weight decay of each trained parameter."""
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): n for n, p in model.named_parameters()}
    return wrapper.optimizer, {
        names[id(p)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups for p in group['params']
        if p.requires_grad
    }


@pytest.mark.parametrize('name', ['fbr_r50-amn_voc', 'fbr_r50-amn_coco'])
def test_setting_i(name):
    cfg = load(name)
    assert cfg.crop_size == (512, 512)
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.train_dataloader.drop_last
    assert cfg.train_cfg.max_epochs == 5
    assert not cfg.get('param_scheduler')  # Constant.
    optimizer, found = rates(cfg)
    assert isinstance(optimizer, torch.optim.Adam)
    for parameter, value in found.items():
        lr = 5e-6 if parameter.startswith('backbone.') else 1e-4
        assert value == pytest.approx((lr, 1e-4)), parameter
    new = {n.rsplit('.', 1)[0] for n in found if not n.startswith('backbone')}
    assert new == {
        'cls_head.label_encoder',
        *(f'cls_head.branches.{i}' for i in range(4)),
        *(f'regularizers.fbr.{n}' for n in ('fg_conv', 'bg_conv', 'seg_conv'))
    }
    # The stem is frozen; other scales and shifts of BatchNorms are trained.
    assert 'backbone.conv1.weight' not in found
    assert 'backbone.bn1.weight' not in found
    assert 'backbone.layer1.0.bn1.weight' in found
    with torch.device('meta'):
        model = MODELS.build(cfg.model).train()
    assert not any(
        m.training for m in model.modules()
        if isinstance(m, torch.nn.BatchNorm2d))


def test_new_convolutions_start_as_published():
    torch.manual_seed(0)
    cfg = load('fbr_r50-amn_voc')
    cfg.model.backbone.depth = 18
    cfg.model.cls_head.in_channels = 512
    cfg.model.regularizers.fbr.update(in_channels=512, bank_size=10)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for branch in model.cls_head.branches:
        assert float(branch.weight.std()) == pytest.approx(0.01, rel=0.02)
        assert (branch.bias == 0).all()
    # Xavier-uniform.
    weight = model.regularizers.fbr.fg_conv.weight
    bound = (6 / (512 + 128))**0.5
    assert 0.99 * bound < weight.abs().max() <= bound
    # PyTorch's own.
    weight = model.cls_head.label_encoder.weight
    assert float(weight.abs().max()) == pytest.approx(20**-0.5, rel=0.01)


@pytest.mark.parametrize('name', [
    'eps_resnet38_voc', 'eps-ppc_resnet38_voc', 'fbr_resnet38-eps-ppc_voc'])
def test_setting_i_and_s(name):
    cfg = load(name)
    loader = cfg.train_dataloader
    assert cfg.crop_size == (448, 448)
    assert loader.batch_size == 8 and cfg.train_cfg.max_iters == 20000
    steps = {s.type: s for s in loader.dataset.pipeline}
    assert steps['mmwsss.LoadSaliency'].threshold is None
    optimizer, found = rates(cfg)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults['momentum'] == 5e-4
    for parameter, value in found.items():
        lr = 0.01 if parameter.startswith('backbone.') else 0.1
        assert value == pytest.approx((lr, 5e-4)), parameter
        # So the published faster rates of biases apply to nothing.
        assert parameter.endswith('weight')
        assert 'norm' not in parameter and 'bn' not in parameter
    new = {n.rsplit('.', 1)[0] for n in found if not n.startswith('backbone')}
    expected = {'cls_head.conv'}
    if name != 'eps_resnet38_voc':
        expected |= {
            'refiner.projections.0', 'refiner.projections.1', 'refiner.query',
            'regularizers.ppc.projection'
        }
    if name.startswith('fbr'):
        expected |= {
            f'regularizers.fbr.{n}' for n in ('fg_conv', 'bg_conv', 'seg_conv')
        }
    assert new == expected
    test_cfg = cfg.model.test_cfg
    assert tuple(test_cfg.scales) == (0.5, 1.0, 1.5, 2.0)
    assert (test_cfg.fuse, test_cfg.normalize, test_cfg.flip) == (
        'sum', 'max', True)
    assert test_cfg.threshold == cfg.val_evaluator.fixed_threshold


def test_learning_rates_of_20000_steps():
    cfg = load('fbr_resnet38-eps-ppc_voc')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.01)
    settings, = (dict(s) for s in cfg.param_scheduler)
    assert settings.pop('type') == 'PolyLR'
    poly = PolyLR(optimizer, **settings)
    found = []
    for _ in range(cfg.train_cfg.max_iters):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        poly.step()
    t = np.minimum(np.arange(20000), 19830)
    np.testing.assert_allclose(
        found, 0.01 * (1 - t / 19830)**0.9, rtol=1e-6, atol=1e-12)


def test_second_view_is_128_pixels_wide():
    cfg = load('fbr_resnet38-eps-ppc_voc')
    view = MODELS.build(cfg.model.second_view)
    assert view.apply(torch.zeros(1, 3, 448, 448)).shape[2:] == (128, 128)
    fbr = cfg.model.regularizers.fbr
    # ResNet-38 has stride 8.
    assert fbr.type == FBR and tuple(fbr.grid) == (128 // 8, 128 // 8)


SMALL = [
    p.stem for p in sorted(FOLDER.glob('fbr*_shapes.py'))
    if 'model' in Config.fromfile(p)
]


def make_batch(model, size=64):
    """Two images with tags and one without, with all that models read."""
    torch.manual_seed(1)
    samples = []
    for i, ids in enumerate(([0, 3], [5], [])):
        sample = SegDataSample(
            metainfo=dict(img_id=f'im{i}', ori_shape=(size, size)))
        score = torch.zeros(6)
        score[ids] = 1
        sample.gt_label = LabelData(
            label=torch.tensor(ids, dtype=torch.int64), score=score)
        seeds = torch.zeros(1, size, size, dtype=torch.int64)
        for n, label in enumerate(ids):
            seeds[0, 20 * n:20 * n + 15, 10:40] = label + 1
        sample.gt_sem_seg = PixelData(data=seeds)
        sample.seed_sem_seg = PixelData(data=seeds)
        sample.gt_saliency = PixelData(data=(seeds > 0).float())
        samples.append(sample)
    images = [torch.randint(0, 256, (3, size, size)) for _ in samples]
    return dict(inputs=images, data_samples=samples)


def maps(model, batch):
    with torch.no_grad():
        return [s.cams for s in model.eval().test_step(batch)]


def test_there_are_small_configs():
    assert {'fbr_r18-amn_shapes', 'fbr_r18-eps-ppc_shapes'} <= set(SMALL)


@pytest.mark.parametrize('name', SMALL)
def test_inference_is_that_of_the_base(name):
    """Regularizers leave no trace in CAMs, not in their last bit."""
    cfg = load(name)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    plain = dict(cfg.model)
    assert plain.pop('regularizers')['fbr'].type == FBR
    base = MODELS.build(plain)
    weights = {
        k: v
        for k, v in model.state_dict().items()
        if not k.startswith('regularizers.')
    }
    base.load_state_dict(weights, strict=True)
    before = maps(model, make_batch(model))
    after = maps(base, make_batch(base))
    assert [len(m) for m in before] == [2, 1, 0]
    for one, other in zip(before, after):
        assert torch.equal(one, other)
    assert before[0].isfinite().all() and before[0].max() > 0


@pytest.mark.parametrize('name', SMALL)
def test_one_step_trains_everything(name):
    cfg = load(name)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    data = model.data_preprocessor(
        make_batch(model, size=96), training=True)
    total, logs = model.parse_losses(model.loss(**data))
    total.backward()
    assert total.isfinite()
    assert {
        'fbr.loss_bg_contrast', 'fbr.loss_fg_contrast',
        'fbr.loss_similarity', 'fbr.loss_background_seg'
    } < set(logs)
    for parameter_name, parameter in model.named_parameters():
        learns = parameter.grad is not None
        assert learns == parameter.requires_grad, parameter_name


def test_pipelines_end_in_the_stages_of_the_paper():
    names = {
        p.stem: list(Config.fromfile(p).stages)
        for p in Path(FOLDER).glob('pipeline_*amn*.py')
    }
    for stages in names.values():
        assert {'start', 'start_cams', 'seeds', 'classify', 'cams'} < set(
            stages)
    assert {'labels', 'boundaries', 'walk'} < set(
        names['pipeline_r50-amn_voc'])
    labels = Config.fromfile(FOLDER / 'refine_fbr-irn-labels_voc.py')
    step = labels.refine_dataset.pipeline[2]
    assert (step.fg_threshold, step.bg_threshold) == (0.45, 0.15)
    walk = Config.fromfile(FOLDER / 'fbr_irnet_r50_voc.py').model.propagate
    assert walk == dict(
        radius=5,
        beta=10,
        log_steps=8,
        threshold=0.25,
        cam_power=1.3,
        crop_size=512)
