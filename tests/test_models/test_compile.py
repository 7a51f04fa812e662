"""``compile=True`` of a config: training goes on, with the same losses."""
import pytest
import torch

from ..small_models import batch_of, build, load, set_phase, wrapper


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    'getam/getam_vit_shapes', 'fbr/fbr_r18-amn_shapes',
    'fbr/fbr_r18-eps-ppc_shapes', 'toco/toco_vit_shapes',
    'cosa/cosa_vit_shapes'
])
def test_training_step(name):
    """As mmengine does: the whole step is compiled."""
    cfg = load(name)
    set_phase(second=True)
    logs = []
    for compiled in (False, True):
        torch._dynamo.reset()
        model = build(cfg).train()
        optim = wrapper(cfg, model)
        step = model.train_step
        if compiled:
            # Whole graphs with their backwards, but no code generation.
            step = torch.compile(step, backend='aot_eager')
        torch.manual_seed(0)
        logs.append([
            step(batch_of(cfg, seed=i), optim_wrapper=optim)
            for i in range(2)
        ])
    # Rounding grows with every update.
    for eager, other, rel in zip(*logs, (1e-5, 1e-3)):
        for key, value in eager.items():
            if 'loss' in key:
                assert float(other[key]) == pytest.approx(
                    float(value), rel=rel, abs=1e-6), key
