"""Training steps of many configs in one of several processes.

    python -m tests.distributed_steps FOLDER CONFIG...
    python -m torch.distributed.run --nproc_per_node=2 \
        -m tests.distributed_steps FOLDER CONFIG...

Writes ``steps{processes}_{rank}.json``: what each config's losses were at
every step, and what its weights add up to in the end.
"""
import json
import logging
import os
import sys
import time
from pathlib import Path

import torch
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from mmwsss.apis.config_edits import drop_sync_bn
from mmwsss.apis.run import end_processes, use_cpu_processes
from tests.small_models import batch_of, build, load, set_phase, wrapper

SIZE = 64
#: Tags of the images of each step. Of two processes, and of three, the last
#: one gets none at the second step; the last batch is a partial one.
STEPS = (
    ((0, 3), (5, ), (1, 2), (4, ), (2, 5), (0, )),
    ((1, ), (4, 0), (3, ), (), (), ()),
    ((2, ), (3, 1), (5, 4), (0, ), (1, ), (2, 3)),
    ((5, ), (0, 2), (1, )),
)


def share(batch: dict, rank: int, world: int) -> dict:
    """One process's images of a batch: an equal share, or the rest's."""
    each = -(-len(batch['inputs']) // world)
    # As samplers do, the first images come again where there are too few.
    order = [*range(len(batch['inputs']))]
    order = (order + order)[rank * each:(rank + 1) * each]
    return {key: [values[i] for i in order] for key, values in batch.items()}


def train(name: str, rank: int, world: int) -> dict:
    """Losses of all steps and sums over the weights of one config."""
    cfg = load(name)
    mixed_statistics = drop_sync_bn(cfg)
    model = build(cfg).train()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.  # Processes draw different numbers.
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.
    optim = wrapper(cfg, model)
    runs = model
    if world > 1:
        use_cpu_processes(cfg)
        runs = MODEL_WRAPPERS.build(
            dict(cfg.model_wrapper_cfg, module=model))
    steps = []
    for i, tags in enumerate(STEPS):
        # Two phases: the second from the third step on.
        set_phase(second=i >= 2)
        batch = batch_of(cfg, tags=tags, size=SIZE, seed=i)
        torch.manual_seed(i)
        logs = runs.train_step(share(batch, rank, world), optim)
        steps.append({k: float(v.detach()) for k, v in logs.items()})
    return dict(
        steps=steps,
        mixed_statistics=mixed_statistics,
        weights={
            k: float(v.double().abs().sum())
            for k, v in model.named_parameters()
        })


def main() -> None:
    folder, *names = sys.argv[1:]
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    rank, world = (int(os.environ.get(k, default))
                   for k, default in (('RANK', 0), ('WORLD_SIZE', 1)))
    found = {}
    for name in names:
        begin = time.perf_counter()
        found[name] = train(name, rank, world)
        print(f'{rank}/{world} {name} {time.perf_counter() - begin:.1f} s',
              flush=True)
    path = Path(folder) / f'steps{world}_{rank}.json'
    path.write_text(json.dumps(found))
    end_processes()


if __name__ == '__main__':
    main()
