# AMN on the generated Shapes images: the narrow ResNet-18 of cam_r18_shapes.py
# from random weights, 12 x 12 maps of 96 pixels, dilations that fit them.
_base_ = [
    '../_base_/models/amn_r50.py', '../_base_/datasets/shapes_amn.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=dict(_delete_=True, type='GN', num_groups=16),
        norm_eval=False,
        frozen_stages=-1),
    cls_head=dict(
        num_classes=6, in_channels=256, dilations=(1, 2, 3, 4)),
    # One scale, like the other configs on Shapes.
    test_cfg=dict(scales=(1.0, )))
val_evaluator = dict(fixed_threshold=0.25)
test_evaluator = val_evaluator
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=4)
]
train_cfg = dict(max_epochs=4, val_interval=4)
