"""Mixes of papers: every part is there, as in its own config, and learns."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.apis.run import pretrained_paths

from .test_tools import ROOT

WORDS = 'mmwsss.VisualWordsLearning'
CONTRAST = 'mmwsss.FineGrainedBackgroundContrast'
ATTENTION = 'mmwsss.AllPairsConsistency'
MAPS = 'mmwsss.EquivariantRegularization'
LOSSES = {
    WORDS: {'vwl.loss_word'},
    CONTRAST: {
        'fbr.loss_bg_contrast', 'fbr.loss_fg_contrast',
        'fbr.loss_similarity', 'fbr.loss_background_seg'
    },
    ATTENTION: {
        'acr.loss_activation', 'acr.loss_affinity', 'loss_cls_view2'
    },
    MAPS: {
        'seam.loss_er', 'seam.loss_ecr', 'seam.loss_rvmin', 'loss_cls_view2'
    }
}
#: Mix -> where its parts are configured on the same backbone.
PARTS = {
    'mix/vwl-m-fbr_r18_shapes': {
        WORDS: 'vwl/vwl-m_r18_shapes',
        CONTRAST: 'fbr/fbr_cam_r18_shapes'
    },
    'mix/vwl-m-fbr_mobilenet-v2_voc-mini': {
        WORDS: 'vwl/vwl-m_mobilenet-v2_voc-mini'
    },
    'mix/vwl-m-fbr_r101_voc': {
        WORDS: 'vwl/vwl-m_r101_voc',
        CONTRAST: 'fbr/fbr_cam_r50_voc'
    },
    'mix/acr-fbr_deit-small_voc': {
        ATTENTION: 'acr/acr_deit-small_voc'
    },
    'mix/seam-acr_deit-tiny_voc-mini': {
        ATTENTION: 'acr/acr_deit-tiny_voc-mini',
        MAPS: 'seam/seam_mobilenet-v2_voc-mini'
    },
    'mix/seam-acr_vit_voc': {
        ATTENTION: 'acr/acr_vit_voc',
        MAPS: 'seam/seam-acr_vit_shapes'
    },
}


def load(name):
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    init_default_scope(cfg.default_scope)
    return cfg


def regularizers(name):
    parts = load(name).model.regularizers.values()
    return {part.type: part.to_dict() for part in parts}


def test_all_mixes_are_here():
    found = {f'mix/{p.stem}' for p in (ROOT / 'configs/mix').glob('*.py')}
    assert found == set(PARTS)


@pytest.mark.parametrize('name', PARTS)
def test_parts_are_as_in_their_own_configs(name):
    mix = regularizers(name)
    assert len(mix) == 2
    for kind, home in PARTS[name].items():
        assert mix[kind] == regularizers(home)[kind]
    # One training is all that differs from the base.
    base = load(next(iter(PARTS[name].values())))
    cfg = load(name)
    for key in ('train_cfg', 'param_scheduler', 'val_evaluator'):
        assert cfg[key] == base[key]
    assert cfg.optim_wrapper.optimizer == base.optim_wrapper.optimizer
    assert cfg.train_dataloader.dataset == base.train_dataloader.dataset
    for key in ('backbone', 'cls_head', 'localizer', 'test_cfg'):
        assert cfg.model[key] == base.model[key]
    if WORDS in mix:
        assert cfg.model.cls_head.pooling.type == 'mmwsss.HybridPooling'


def make_batch(num_classes, size=96):
    """Two images with tags and one without."""
    torch.manual_seed(1)
    samples = []
    for i, ids in enumerate(([0, 3], [5], [])):
        sample = SegDataSample(
            metainfo=dict(img_id=f'im{i}', ori_shape=(size, size)))
        score = torch.zeros(num_classes)
        score[ids] = 1
        sample.gt_label = LabelData(
            label=torch.tensor(ids, dtype=torch.int64), score=score)
        samples.append(sample)
    images = [torch.randint(0, 256, (3, size, size)) for _ in samples]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize('name', [
    pytest.param(n, marks=pytest.mark.slow)
    if n.endswith(('r101_voc', 'vit_voc')) else n for n in PARTS
])
def test_one_step_trains_everything(name):
    cfg = load(name)
    for where, _ in pretrained_paths(cfg.model):
        cfg.merge_from_dict({where: None})  # The weights are not here.
    for regularizer in cfg.model.regularizers.values():
        regularizer.pop('start_iter', None)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    batch = make_batch(cfg.model.cls_head.num_classes)
    data = model.data_preprocessor(batch, training=True)
    total, logs = model.parse_losses(model.loss(**data))
    total.backward()
    assert total.isfinite()
    kinds = [r.type for r in cfg.model.regularizers.values()]
    terms = set().union(*(LOSSES[kind] for kind in kinds))
    assert {k for k in logs if 'loss_' in k} == terms | {'loss_cls'}
    # What is trained learns, so nothing is unused under DDP.
    for parameter_name, parameter in model.named_parameters():
        learns = parameter.grad is not None
        assert learns == parameter.requires_grad, parameter_name
    if CONTRAST in kinds and 'mobilenet' not in name:
        # MobileNetV2 hands nothing on without its weights.
        assert logs['fbr.contrast_queries'] > 0
    with torch.no_grad():
        out = model.eval().test_step(batch)
    assert [len(sample.cams) for sample in out] == [2, 1, 0]
    assert all(sample.cams.isfinite().all() for sample in out)
