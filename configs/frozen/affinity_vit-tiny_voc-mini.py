# The affinity of a frozen ViT-Ti on CAM files of any method, voc_mini.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_affinity.py',
    '../_base_/datasets/voc_mini_frozen_cams.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/affinity_runtime.py'
]
model = dict(
    affinity=dict(network=dict(_base_.vit_tiny, channels=192, out_index=0)))
# There is nothing to train.
train_cfg = None
val_cfg = None
optim_wrapper = None
param_scheduler = None
