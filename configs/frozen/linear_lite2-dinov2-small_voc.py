# A linear segmentation head on a frozen EfficientNet-Lite2 and a frozen
# DINOv2-S/14, VOC.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_linear.py',
    '../_base_/datasets/voc_frozen_pseudo.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_seg_runtime.py'
]
model = dict(
    segmentor=dict(
        backbone=dict(
            networks=[_base_.efficientnet_lite2, _base_.dinov2_small]),
        decode_head=dict(in_channels=2048, channels=2048)),
    refiners=[
        dict(
            type='mmwsss.FrozenAffinity',
            network=dict(_base_.dinov2_small, channels=384, out_index=0)),
        dict(type='mmwsss.PAMR')
    ])
# Three epochs of 16 images.
train_cfg = dict(max_iters=2000, val_interval=2000)
param_scheduler = [dict(_base_.param_scheduler[0], end=2000)]
