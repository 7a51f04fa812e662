"""A training of one second that has everything a resume can get wrong.

Dropout and noise (random numbers inside the model), batch norm (buffers),
momentum (optimizer state), a learning-rate schedule, augmentation (random
numbers of the data) and validation in between. A large buffer makes writing
a checkpoint take a while, so that a kill often falls into it.
"""
from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
custom_imports = dict(imports=['tests.toy'], allow_failed_imports=False)
default_scope = 'mmengine'
work_dir = {work_dir!r}
model = dict(type='ToyModel', ballast={ballast}, width={width})
train_dataloader = dict(
    batch_size=2, num_workers={workers}, dataset=dict(type='ToyData'),
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True))
val_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='ToyData'),
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='ToyMetric')
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(
        type='mmwsss.AtomicCheckpointHook', by_epoch={by_epoch}, interval=1,
        max_keep_ckpts={keep}),
    logger=dict(type='LoggerHook', interval=1))
randomness = dict(seed=3)
log_processor = dict(by_epoch={by_epoch})
"""
EPOCHS = """
train_cfg = dict(by_epoch=True, max_epochs={steps}, val_interval=2)
param_scheduler = dict(
    type='PolyLR', end={steps}, by_epoch=True, convert_to_iter_based=True)
"""
ITERS = """
train_cfg = dict(by_epoch=False, max_iters={steps}, val_interval=5)
param_scheduler = dict(type='PolyLR', end={steps}, by_epoch=False)
"""


def write_config(path: Path,
                 work_dir: Path,
                 by_epoch: bool = True,
                 steps: int = 4,
                 workers: int = 0,
                 keep: int = 2,
                 ballast: int = 1,
                 width: int = 4,
                 more: str = '') -> Path:
    """Write the config of a toy run and return its path."""
    text = CONFIG + (EPOCHS if by_epoch else ITERS)
    path.write_text(
        text.format(
            work_dir=str(work_dir),
            by_epoch=by_epoch,
            steps=steps,
            workers=workers,
            keep=keep,
            ballast=ballast,
            width=width) + more)
    return path


@DATASETS.register_module()
class ToyData(Dataset):
    """Eight noisy points; the noise is the augmentation."""
    metainfo = dict(classes=('a', 'b'))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        if hasattr(index, 'draw_seed'):
            torch.manual_seed(index.draw_seed)
        noise = torch.randn(4) if hasattr(index, 'draw_seed') else 0
        return dict(
            inputs=torch.arange(4.) * int(index) + noise,
            target=int(index) / 8)


@MODELS.register_module()
class ToyModel(BaseModel):
    """A layer with dropout, noise and running statistics."""

    def __init__(self, ballast: int = 1, width: int = 4, **kwargs) -> None:
        super().__init__(**kwargs)
        self.layer = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width, 1)
        self.register_buffer('ballast', torch.zeros(ballast))

    def forward(self, inputs, target=None, mode='tensor'):
        out = self.head(self.drop(self.norm(self.layer(inputs))))[:, 0]
        if mode == 'loss':
            noise = torch.randn_like(out) * 0.1
            return dict(loss=(out + noise - target.float()).square().mean())
        return [dict(out=x) for x in out]


@METRICS.register_module()
class ToyMetric(BaseMetric):
    """Mean output; consumes random numbers, as a validation may."""

    def process(self, data_batch, data_samples) -> None:
        torch.rand(3)
        self.results += [float(x['out']) for x in data_samples]

    def compute_metrics(self, results) -> dict:
        return dict(mean=sum(results) / len(results))
