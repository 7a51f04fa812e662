"""A training and a test of a small IRNet, in seconds."""
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import Runner

from mmwsss.apis.run import end_processes, use_cpu_processes
from mmwsss.pseudo_labels import write_cam

from ..test_datasets.builders import METAINFO, make_voc, save_mask

LABELS = {'a': [0], 'b': [0, 1], 'c': []}
SIZE = (40, 48)


def make_data(root) -> Path:
    """Images with CAMs, object numbers and masks."""
    make_voc(root, LABELS, size=SIZE)
    rng = np.random.default_rng(0)
    for img_id, ids in LABELS.items():
        write_cam(root / 'cams', img_id, ids,
                  rng.random((len(ids), *SIZE)), SIZE)
        numbers = np.zeros(SIZE, np.uint8)
        for row in range(len(ids)):
            numbers[row, :20], numbers[row, 20:] = 2 * row + 1, 2 * row + 2
        save_mask(root / f'SegmentationObject/{img_id}.png', numbers)
    return root


def make_cfg(data, work_dir, hooks=(), by_epoch=True, **kwargs) -> dict:
    """Config of the run; two epochs of two steps."""

    def loader(train: bool) -> dict:
        steps = [
            dict(type='mmwsss.LoadPseudoMask'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmwsss.DownscaleLabel', factor=4)
        ] if train else [
            dict(type='mmwsss.LoadCAMs'),
            dict(type='mmwsss.LoadMask'),
            dict(type='mmwsss.LoadInstances')
        ]
        return dict(
            batch_size=2 if train else 1,
            num_workers=0,
            sampler=dict(
                type='mmwsss.SeededSampler' if by_epoch else
                'mmwsss.InfiniteSeededSampler') if train else dict(
                    type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='mmwsss.ImageLevelDataset',
                data_root=str(data),
                ann_file='ImageSets/Segmentation/train.txt',
                labels_file='labels.json',
                metainfo=METAINFO,
                cam_dir=str(data / 'cams'),
                mask_dir=str(data / 'SegmentationClass'),
                with_masks=not train,
                test_mode=not train,
                data_prefix=dict() if train else dict(
                    instance_path='SegmentationObject'),
                pipeline=[
                    dict(type='mmwsss.LoadImage'), *steps,
                    dict(type='mmwsss.PackWSSSInputs')
                ]))

    channels = (64, 64, 128, 256, 512)
    steps = dict(max_epochs=2) if by_epoch else dict(max_iters=4)
    return dict(
        default_scope='mmseg',
        work_dir=str(work_dir),
        experiment_name=Path(work_dir).name,
        model=dict(
            type='mmwsss.IRNet',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
                size_divisor=1),
            backbone=dict(
                type='mmwsss.ResNetWithStem',
                depth=18,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 1),
                out_indices=(0, 1, 2, 3)),
            edge_head=dict(
                type='mmwsss.EdgeHead',
                in_channels=channels,
                channels=4,
                num_groups=2),
            displacement_head=dict(
                type='mmwsss.DisplacementHead',
                in_channels=channels,
                channels=(4, ) * 5,
                num_groups=(2, ) * 5),
            radius=3,
            instances=dict(),
            propagate=dict(crop_size=64)),
        train_dataloader=loader(True),
        test_dataloader=loader(False),
        train_cfg=dict(by_epoch=by_epoch, **steps),
        test_cfg=dict(),
        test_evaluator=dict(type='mmwsss.InstanceAP'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        randomness=dict(seed=1),
        default_hooks=dict(
            checkpoint=dict(
                type='mmwsss.AtomicCheckpointHook',
                by_epoch=by_epoch,
                interval=1 if by_epoch else 2)),
        custom_hooks=list(hooks),
        log_processor=dict(by_epoch=by_epoch)) | kwargs


def build(*args, **kwargs) -> Runner:
    return Runner.from_cfg(Config(make_cfg(*args, **kwargs)))


def main() -> None:
    """One of several processes: python -m .. DATA WORK_DIR."""
    data, work_dir = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    hooks = [dict(type='mmwsss.DisplacementMeanHook')]
    cfg = Config(make_cfg(data, work_dir, hooks, launcher='pytorch'))
    use_cpu_processes(cfg)
    runner = Runner.from_cfg(cfg)
    runner.test()
    mean = runner.model.module.displacement_head.running_mean
    torch.save(mean, work_dir / f'mean{get_rank()}.pth')
    end_processes()


if __name__ == '__main__':
    main()
