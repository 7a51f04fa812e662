# A linear segmentation head on a frozen EfficientNet-Lite2 and a frozen
# DINOv2-S/14, COCO 2014.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_linear.py',
    '../_base_/datasets/coco_frozen_pseudo.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_seg_runtime.py'
]
model = dict(
    segmentor=dict(
        backbone=dict(
            networks=[
                dict(_base_.efficientnet_lite2, cache_dir=None),
                dict(_base_.dinov2_small, cache_dir=None)
            ]),
        decode_head=dict(in_channels=2048, channels=2048, num_classes=81)),
    refiners=[
        dict(
            type='mmwsss.FrozenAffinity',
            network=dict(
                _base_.dinov2_small,
                channels=384,
                out_index=0,
                cache_dir=None)),
        dict(type='mmwsss.PAMR')
    ])
# Two epochs of 16 images.
train_cfg = dict(max_iters=10000, val_interval=10000)
param_scheduler = [dict(_base_.param_scheduler[0], end=10000)]
