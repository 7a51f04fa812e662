"""Every kind of model on the pretended GPU, with what it may cost.

No tensors of two devices meet, and a training step makes the host wait and a
GPU work no more often than the table says. A number that goes up is a decision
to be seen in review; one that goes down should be taken over here.
"""
from unittest.mock import MagicMock

import pytest
import torch

from mmwsss.engine.hooks import RuntimeInfoHook

from .fake_gpu import FakeGPU
from .small_models import (
    LACKING,
    SHAPES,
    batch_of,
    build,
    load,
    losses_of,
    set_phase,
    wrapper,
)

#: Config -> launches and waits of a training step at most; of two phases, the
#: first is ``name:1``. With FBR there is room for more steps of k-means, which
#: follow the numbers.
LIMITS = {
    'acr/acr_vit_shapes': (460, 2),
    'affinity/affinitynet_small_shapes': (620, 2),
    'affinity/irnet_small_shapes': (520, 2),
    'cam/cam_r18_shapes': (350, 2),
    'cam/cam_r50_shapes': (810, 2),
    'cam/cam_vit_shapes': (315, 2),
    'cosa/cosa_vit_shapes': (790, 2),
    'cosa/cosa_vit_shapes:1': (375, 2),
    'fbr/amn_r18_shapes': (415, 2),
    'fbr/eps-ppc_r18_shapes': (1180, 4),
    'fbr/fbr_acr_vit_shapes': (1120, 7),
    'fbr/fbr_cam_r18_shapes': (1010, 7),
    'fbr/fbr_r18-amn_shapes': (1040, 7),
    'fbr/fbr_r18-eps-ppc_shapes': (1850, 7),
    'fbr/fbr_seam_r18_shapes': (1600, 7),
    'getam/getam_no-saliency_vit_shapes': (830, 4),
    'getam/getam_no-saliency_vit_shapes:1': (315, 2),
    'getam/getam_vit_shapes': (895, 4),
    'getam/getam_vit_shapes:1': (315, 2),
    'mctformer/mctformer-plus_vit_shapes': (415, 2),
    'mix/vwl-m-fbr_r18_shapes': (1100, 7),
    'seam/seam-acr_vit_shapes': (780, 3),
    'seam/seam_er-pcm_r18_shapes': (870, 3),
    'seam/seam_er_r18_shapes': (700, 3),
    'seam/seam_r18_shapes': (910, 3),
    'segmentation/fcn_shapes': (320, 5),
    'segmentation/mask2former_small_shapes': (2600, 130),
    'segmentation/segformer_small_shapes': (640, 5),
    'toco/toco_vit_shapes': (1280, 3),
    'toco/toco_vit_shapes:1': (1120, 3),
    'vwl/gap_r18_shapes': (350, 2),
    'vwl/hp_r18_shapes': (370, 2),
    'vwl/vwl-l_r18_shapes': (515, 2),
    'vwl/vwl-m_r18_shapes': (435, 2),
    'weaktr/weaktr_segmenter_vit_shapes': (595, 4),
    'weaktr/weaktr_vit_shapes': (430, 2),
}
#: The default suite runs one config of every kind.
QUICK = {
    'acr/acr_vit_shapes', 'affinity/affinitynet_small_shapes',
    'affinity/irnet_small_shapes', 'cam/cam_vit_shapes',
    'fbr/fbr_r18-amn_shapes', 'fbr/fbr_r18-eps-ppc_shapes',
    'getam/getam_vit_shapes', 'getam/getam_vit_shapes:1',
    'segmentation/fcn_shapes', 'seam/seam_r18_shapes',
    'vwl/vwl-l_r18_shapes', 'vwl/vwl-m_r18_shapes'
}


def test_every_model_has_its_limits():
    assert {name.split(':')[0] for name in LIMITS} == {*SHAPES, *LACKING}


@pytest.mark.parametrize('name', [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in LIMITS if name not in LACKING
])
def test_training_step_and_prediction(name):
    config, _, phase = name.partition(':')
    # IRNet's published radius, which decides how many paths there are.
    options = {'model__radius': 10} if 'irnet' in config else {}
    cfg = load(config, **options)
    set_phase(second=phase != '1')
    with FakeGPU() as gpu:
        model = build(cfg).to(gpu.device).train()
        optim = wrapper(cfg, model)
        hook = RuntimeInfoHook()
        for _ in range(2):
            # The first step reads buffers once and makes index tensors.
            batch = batch_of(cfg)
            with gpu.counting() as counts:
                logs = model.train_step(batch, optim)
                hook.after_train_iter(MagicMock(), 0, None, logs)
            assert all(torch.tensor(v).isfinite() for v in logs.values())
        launches, waits = LIMITS[name]
        assert counts.num_launches <= launches, counts.report()
        assert counts.num_waits <= waits, counts.report()
        model.eval()
        with torch.no_grad():
            samples = model.val_step(batch_of(cfg, training=False))
        for sample in samples:
            assert sample.pred_sem_seg.data.device == gpu.device
            assert sample.pred_sem_seg.data.shape[-2:] == (96, 96)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason='there is no real GPU')
@pytest.mark.parametrize('name', SHAPES)
def test_a_real_gpu_computes_the_same_losses(name):
    """Where nothing is drawn: devices draw different numbers."""
    cfg = load(name)
    set_phase(second=True)
    found = []
    for device in ('cpu', 'cuda'):
        model = build(cfg).to(device).train()
        for module in model.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.p = 0.
            if isinstance(module, torch.nn.MultiheadAttention):
                module.dropout = 0.
        found.append(losses_of(model, batch_of(cfg)))
    drawn = ('fbr.loss_bg_contrast', 'fbr.loss_fg_contrast',
             'ppc.loss_intra_view')
    for key, value in found[0].items():
        assert found[1][key].isfinite().all()
        if 'loss' in key and key not in drawn:
            assert float(found[1][key]) == pytest.approx(
                float(value), rel=1e-2, abs=1e-4), key
