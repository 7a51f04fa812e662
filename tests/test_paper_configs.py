"""The papers' own settings at full size: one step, one prediction."""
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.registry import MODELS

from .test_tools import ROOT


def make_sample(labels, num_classes):
    sample = SegDataSample(metainfo=dict(img_id='x', ori_shape=(375, 500)))
    score = torch.zeros(num_classes)
    score[labels] = 1
    sample.gt_label = LabelData(label=torch.tensor(labels), score=score)
    return sample


@pytest.mark.slow
@pytest.mark.parametrize('name,tokens', [('acr/acr_vit_voc.py', 576),
                                         ('acr/acr_deit-small_voc.py', 576),
                                         ('acr/acr_deit-tiny_voc.py', 196)])
def test_one_step_and_one_prediction(name, tokens):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    image = torch.randint(0, 256, (3, *cfg.crop_size), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[make_sample([3, 7], 20)])
    batch = model.data_preprocessor(data, training=True)
    losses = model.loss(**batch)
    total, logs = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    assert {'loss_cls', 'loss_cls_view2', 'acr.loss_activation',
            'acr.loss_affinity'} < set(logs)
    # Every parameter learns, so nothing is unused under DDP.
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert not unused
    model.eval()
    data = dict(inputs=[image], data_samples=[make_sample([3, 7], 20)])
    with torch.no_grad():
        result, = model.test_step(data)
    assert result.cams.shape == (2, 375, 500)
    assert result.cams.isfinite().all() and result.cams.max() > 0.9
    regularizer = model.regularizers.acr
    weight = regularizer.loss_weight * tokens / regularizer.num_tokens
    assert weight == pytest.approx(125 if tokens == 576 else 20, rel=0.03)


TWO_VIEWS = {
    'loss', 'loss_cls', 'loss_cls_view2', 'seam.loss_er', 'seam.loss_ecr',
    'seam.loss_rvmin', 'acc_tags'
}
BANK = {
    'loss', 'loss_cls', 'vwl.loss_word', 'vwl.words_alive',
    'vwl.words_entropy', 'acc_tags'
}
LEARNED = BANK | {'vwl.loss_histogram', 'vwl.loss_decorrelation'}
CONTRAST = {
    'fbr.loss_bg_contrast', 'fbr.loss_fg_contrast', 'fbr.loss_similarity',
    'fbr.loss_background_seg', 'fbr.contrast_queries', 'fbr.contrast_bank'
}
SEEDS = CONTRAST | {'loss', 'loss_seed', 'acc_seed'}
SALIENCY = CONTRAST | TWO_VIEWS | {
    'eps.loss_eps', 'eps.loss_eps_refined', 'ppc.loss_cross_prototype',
    'ppc.loss_cross_label'
}


def add_masks(sample, size):
    """A square in the seeds and the saliency map, if there is any class."""
    square = torch.zeros(1, *size, dtype=torch.int64)
    for label in sample.gt_label.label[:1]:
        square[:, :size[0] // 2, :size[1] // 2] = label + 1
    sample.gt_sem_seg = PixelData(data=square)
    sample.gt_saliency = PixelData(data=(square > 0).float())


@pytest.mark.slow
@pytest.mark.parametrize('name,expected',
                         [('seam/seam_resnet38_voc.py', TWO_VIEWS),
                          ('seam/seam_r50_voc.py', TWO_VIEWS),
                          ('vwl/vwl-l_r101_voc.py', LEARNED),
                          ('vwl/vwl-m_r101_voc.py', BANK),
                          ('vwl/vwl-l_r50_voc.py', LEARNED),
                          ('vwl/vwl-m_r50_voc.py', BANK),
                          ('fbr/fbr_r50-amn_voc.py', SEEDS),
                          ('fbr/fbr_resnet38-eps-ppc_voc.py', SALIENCY)])
def test_step_and_prediction(name, expected):
    """One of the two images has no class."""
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.model.backbone.init_cfg = None
    cfg.model.test_cfg.scales = (0.5, 1.0)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    images = [
        torch.randint(0, 256, (3, *cfg.crop_size), dtype=torch.uint8)
        for _ in range(2)
    ]
    samples = [make_sample(ids, 20) for ids in ([3, 7], [])]
    if name.startswith('fbr/'):
        for sample in samples:
            add_masks(sample, cfg.crop_size)
    data = dict(inputs=images, data_samples=samples)
    model.train()
    losses = model.loss(**model.data_preprocessor(data, training=True))
    total, logs = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    assert set(logs) == expected
    # What is trained learns, so nothing is unused under DDP.
    for parameter_name, parameter in model.named_parameters():
        learns = parameter.grad is not None
        assert learns == parameter.requires_grad, parameter_name
    model.eval()
    sample = make_sample([3, 7], 20)
    # No background anywhere.
    sample.seed_sem_seg = PixelData(data=torch.full((1, 375, 500), 4))
    data = dict(inputs=images[:1], data_samples=[sample])
    with torch.no_grad():
        result, = model.test_step(data)
    assert result.cams.shape == (2, 375, 500)
    assert result.cams.isfinite().all()
    assert 0.9 < result.cams.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize('name,classes', [
    ('getam/getam_vit-hybrid_voc.py', 20), ('getam/getam_vit_voc.py', 20),
    ('getam/getam_deit-distilled_voc.py', 20),
    ('getam/getam_vit-hybrid_coco.py', 80)
])
def test_end_to_end_step_and_prediction(name, classes):
    """One of the two images has no class and nothing salient."""
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    images = [
        torch.randint(0, 256, (3, *cfg.crop_size), dtype=torch.uint8)
        for _ in range(2)
    ]
    samples = [make_sample(ids, classes) for ids in ([3, 7], [])]
    for sample, side in zip(samples, (128, 0)):
        saliency = torch.zeros(1, *cfg.crop_size, dtype=torch.uint8)
        saliency[:, :side, :side] = 1
        sample.gt_saliency = PixelData(data=saliency)
    model.train()
    data = dict(inputs=images, data_samples=samples)
    losses = model.loss(**model.data_preprocessor(data, training=True))
    total, logs = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    assert set(logs) == {
        'loss', 'loss_cls', 'ce.loss', 'saliency.loss', 'energy.loss',
        'acc_tags', 'label_foreground', 'label_ignored'
    }
    for parameter_name, parameter in model.named_parameters():
        learns = parameter.grad is not None
        assert learns == parameter.requires_grad, parameter_name
    model.eval()
    data = dict(inputs=images[:1], data_samples=[make_sample([3], classes)])
    with torch.no_grad():
        result, = model.test_step(data)
    assert result.seg_logits.data.shape == (classes + 1, 375, 500)
    assert result.seg_logits.data.isfinite().all()
    assert result.pred_sem_seg.data.shape == (1, 375, 500)
    assert 'cams' not in result
