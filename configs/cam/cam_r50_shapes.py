# CAM baseline on the generated Shapes images, from random weights. Batch
# statistics are learnt, strides are small: 12 x 12 CAMs of 96 pixels.
_base_ = [
    '../_base_/models/cam_r50.py', '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(strides=(1, 2, 1, 1), norm_eval=False),
    cls_head=dict(num_classes=6))
val_evaluator = dict(fixed_threshold=0.3)
test_evaluator = val_evaluator
# On several GPUs batch norm normalises the images of all of them.
sync_bn = 'torch'
