"""A training on frozen features, in seconds, with images of many sizes."""
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import Runner

from mmwsss.apis.run import end_processes, use_cpu_processes
from mmwsss.evaluation.metrics.refinement_iou_metric import RefinementIoUMetric

from ..test_datasets.builders import METAINFO, make_voc
from ..test_models.frozen_builders import toy_network, vit_network

#: Five: two processes do not get as many each.
SIZES = dict(a=(20, 32), b=(32, 20), c=(24, 24), d=(20, 32), e=(8, 16))
LABELS = dict(a=[0], b=[1], c=[0, 1], d=[], e=[1])


def make_data(root: Path) -> Path:
    """Noise of five sizes with labels."""
    make_voc(root, LABELS)
    rng = np.random.default_rng(1)
    for img_id, size in SIZES.items():
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f'JPEGImages/{img_id}.jpg'), image)
    return root


def networks(root: Path, cache: bool) -> list:
    """Two frozen networks, whose weights are written to the folder."""
    made = toy_network(root), vit_network(root, long_side=32)
    if cache:
        for i, network in enumerate(made):
            network['cache_dir'] = str(root / f'cache{i}')
    return list(made)


def make_cfg(root: Path, work_dir: Path, cache: bool = False, epochs: int = 2,
             dropout: float = 0., **kwargs) -> Config:
    """Config of the run."""
    return Config(
        dict(
            default_scope='mmseg',
            work_dir=str(work_dir),
            experiment_name=Path(work_dir).name,
            model=dict(
                type='mmwsss.CAMSegmentor',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    mean=[0., 0., 0.],
                    std=[1., 1., 1.],
                    bgr_to_rgb=True,
                    size_divisor=1),
                backbone=dict(
                    type='mmwsss.FrozenFeatures',
                    networks=networks(root, cache)),
                cls_head=dict(
                    type='mmwsss.CAMHead',
                    num_classes=2,
                    in_channels=18,
                    bias=True,
                    dropout_ratio=dropout,
                    pooling=dict(
                        type='mmwsss.GlobalWeightedRankPooling', decay=0.9)),
                localizer=dict(type='mmwsss.CAM')),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                drop_last=True,
                sampler=dict(type='mmwsss.SeededSampler'),
                dataset=dict(
                    type='mmwsss.ImageLevelDataset',
                    data_root=str(root),
                    ann_file='ImageSets/Segmentation/train.txt',
                    labels_file='labels.json',
                    metainfo=METAINFO,
                    pipeline=[
                        dict(type='mmwsss.LoadImage'),
                        dict(type='mmwsss.PackWSSSInputs')
                    ])),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
            randomness=dict(seed=1),
            default_hooks=dict(
                checkpoint=dict(
                    type='mmwsss.AtomicCheckpointHook', interval=1)),
            custom_hooks=[dict(type='mmwsss.FeatureStatisticsHook')],
            **kwargs))


def train(*args, **kwargs) -> Runner:
    """Run it."""
    runner = Runner.from_cfg(make_cfg(*args, **kwargs))
    runner.train()
    return runner


def samples(rank: int, world: int) -> list:
    """Predictions of five images; the last process repeats the first."""
    rng = np.random.default_rng(2)
    found = []
    for i in range(5):
        found.append(
            dict(
                img_id=f'image{i}',
                step_names=['model', 'PAMR'],
                step_sem_seg=dict(data=rng.integers(0, 3, (2, 6, 7 + i))),
                gt_sem_seg=dict(
                    data=rng.choice([0, 1, 2, 255], (1, 6, 7 + i)))))
    share = found[rank::world]
    return share if len(share) == len(found[::world]) else share + found[:1]


def score(rank: int, world: int) -> dict:
    """Metric of the predictions above."""
    metric = RefinementIoUMetric(report_classes=['cat'])
    metric.dataset_meta = METAINFO
    for sample in samples(rank, world):
        metric.process({}, [sample])
    return metric.evaluate(5)


def main() -> None:
    """One of two processes: python -m .. DATA WORK_DIR."""
    root, work_dir = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    cfg = make_cfg(root, work_dir, cache=True, epochs=1, launcher='pytorch')
    use_cpu_processes(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    torch.save(
        dict(
            state=runner.model.module.state_dict(),
            metric=score(get_rank(), 2)), work_dir / f'result{get_rank()}.pth')
    end_processes()


if __name__ == '__main__':
    main()
