# CAMs of a linear classifier on a frozen EfficientNet-Lite2, VOC.
_base_ = [
    '../_base_/models/frozen_networks.py', '../_base_/models/frozen_cam.py',
    '../_base_/datasets/voc_frozen.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_runtime.py'
]
model = dict(backbone=dict(networks=[_base_.efficientnet_lite2]))
# Three epochs of 16 images.
train_cfg = dict(max_iters=2000, val_interval=2000)
param_scheduler = [dict(_base_.param_scheduler[0], end=2000)]
