"""Every method trains in half precision without anybody's care.

Twenty steps in bfloat16, and in float16 with loss scaling, as ``--amp``
does them: losses stay finite, no step is skipped after the first two, where
the scale of the loss finds its level, and the first losses are those of
float32 up to the rounding of half precision. By autocast's rules of the CPU,
which leave exponentials and sums in half, and by those of CUDA on the
pretended GPU.
"""
import pytest
import torch

from .fake_gpu import FakeGPU
from .small_models import (
    SHAPES,
    TWO_PHASES,
    HalfOptimWrapper,
    batch_of,
    build,
    load,
    losses_of,
    set_phase,
    wrapper,
)
from .test_engine import frozen_run

STEPS, SIZE = 20, 64
#: Of two phases, the first is ``name:1``.
METHODS = [
    *SHAPES, *(f'{name}:1' for name in SHAPES if name.startswith(TWO_PHASES)),
    'segmentation/deeplabv2_r18_voc-mini', 'frozen head'
]
HALF, BRAIN = torch.float16, torch.bfloat16
#: What the default suite trains.
QUICK = {
    ('cpu', BRAIN): ('acr/acr_vit_shapes', 'fbr/fbr_r18-eps-ppc_shapes'),
    ('cpu', HALF): ('getam/getam_vit_shapes', 'frozen head'),
    ('pretend', HALF): ('cam/cam_vit_shapes', ),
    ('pretend', BRAIN): (),
}
#: Random draws depend on the features, so float32 draws others.
DRAWN = ('loss_bg_contrast', 'loss_fg_contrast', 'loss_intra_view')


def settings(folder, name):
    """The config, with small frozen networks if it has any."""
    if name == 'frozen head':
        cfg = frozen_run.make_cfg(folder, folder)
        # Means of features are measured before a training.
        cfg.model.backbone.standardize = False
        return cfg
    return load(name.partition(':')[0])


def without_dropout(model):
    """Half precision draws other numbers."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.
    return model


def train(cfg, dtype, device, steps=STEPS):
    """Losses of all steps and the numbers of those that were skipped."""
    model = without_dropout(build(cfg)).to(device).train()
    kind = torch.device(device).type
    optim = HalfOptimWrapper(wrapper(cfg, model), dtype, kind)
    found, skipped = [], []
    for i in range(steps):
        torch.manual_seed(i)
        scale = optim.loss_scaler.get_scale()
        logs = model.train_step(batch_of(cfg, size=SIZE, seed=i % 4), optim)
        found.append({k: float(v.detach()) for k, v in logs.items()})
        if optim.loss_scaler.get_scale() < scale:
            skipped.append(i)
    return found, skipped


def cases():
    for (device, dtype), quick in QUICK.items():
        for name in METHODS:
            yield pytest.param(
                name,
                dtype,
                device,
                marks=() if name in quick else pytest.mark.slow,
                id=f'{name}-{str(dtype)[6:]}-{device}')


@pytest.mark.parametrize('name,dtype,device', cases())
def test_twenty_steps(tmp_path, name, dtype, device):
    set_phase(second=not name.endswith(':1'))
    cfg = settings(tmp_path, name)
    torch.manual_seed(0)
    first = losses_of(
        without_dropout(build(cfg)).train(),
        batch_of(cfg, size=SIZE, seed=0))
    if device == 'pretend':
        with FakeGPU() as gpu:
            losses, skipped = train(cfg, dtype, gpu.device)
    else:
        losses, skipped = train(cfg, dtype, device)
    for i, logs in enumerate(losses):
        for key, value in logs.items():
            assert torch.tensor(value).isfinite(), (i, key, value)
    assert all(i < 2 for i in skipped), skipped
    for key, value in first.items():
        if 'loss' in key and key not in DRAWN:
            assert losses[0][key] == pytest.approx(
                float(value), rel=0.05, abs=0.02), key
