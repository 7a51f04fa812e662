# CAMs of a linear classifier on a frozen EfficientNet-Lite2, COCO 2014.
_base_ = [
    '../_base_/models/frozen_networks.py', '../_base_/models/frozen_cam.py',
    '../_base_/datasets/coco_frozen.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_runtime.py'
]
model = dict(
    # Features of 82,081 images would take 130 GB.
    backbone=dict(networks=[dict(_base_.efficientnet_lite2, cache_dir=None)]),
    cls_head=dict(num_classes=80))
# Two epochs of 16 images.
train_cfg = dict(max_iters=10000, val_interval=10000)
param_scheduler = [dict(_base_.param_scheduler[0], end=10000)]
