"""One process of a small training whose losses and metric are written down.

    python tests/distributed_run.py CONFIG FOLDER BATCH_SIZE [pytorch]
"""
import json
import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.apis.run import end_processes, use_cpu_processes


class Recorder(Hook):
    """Keeps the losses of every step."""

    def __init__(self) -> None:
        self.steps = []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None) -> None:
        ids = [s.img_id for s in data_batch['data_samples']]
        self.steps.append(
            dict(ids=ids, losses={k: float(v)
                                  for k, v in outputs.items()}))


def main() -> None:
    config, folder, batch_size, *launcher = sys.argv[1:]
    torch.set_num_threads(1)
    cfg = Config.fromfile(config)
    cfg.launcher = launcher[0] if launcher else 'none'
    if launcher:
        use_cpu_processes(cfg)
    cfg.work_dir = str(Path(folder) / f'work{len(launcher)}')
    # 7 validation images: the last batch of 2 processes is padded.
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=str(Path(folder) / 'shapes'), num_train=12, num_val=7)
    cfg.train_dataloader.batch_size = int(batch_size)
    cfg.val_dataloader.batch_size = 1
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    recorder = Recorder()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(recorder)
    runner.train()
    metric = runner.val_loop.run()
    model = getattr(runner.model, 'module', runner.model)
    result = dict(
        steps=recorder.steps,
        metric=metric,
        weights={
            k: float(v.double().abs().sum())
            for k, v in model.state_dict().items()
        })
    rank = get_rank()
    target = Path(folder) / f'result{len(launcher)}_{rank}.json'
    # mmseg's metrics are numpy numbers.
    target.write_text(json.dumps(result, default=float))
    end_processes()


if __name__ == '__main__':
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
    main()
