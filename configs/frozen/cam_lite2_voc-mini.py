# CAMs of a linear classifier on a frozen EfficientNet-Lite2, voc_mini.
_base_ = [
    '../_base_/models/frozen_networks.py', '../_base_/models/frozen_cam.py',
    '../_base_/datasets/voc-mini_frozen.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_runtime.py'
]
model = dict(backbone=dict(networks=[_base_.efficientnet_lite2]))
