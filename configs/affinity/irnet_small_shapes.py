# IRNet with instances on the generated Shapes images: minutes on a CPU. It
# reads the backbone of a trained classifier, configs/cam/cam_r18_shapes.py.
_base_ = [
    '../_base_/models/irnet_r50.py', '../_base_/datasets/shapes_irn.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/instances_runtime.py'
]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=dict(_delete_=True, type='GN', num_groups=16),
        # A work folder stands for its last checkpoint.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/cam_r18_shapes',
            prefix='backbone.')),
    edge_head=dict(
        in_channels=(64, 32, 64, 128, 256), strides=(4, 4, 8, 8, 8)),
    displacement_head=dict(
        type='mmwsss.DisplacementHead',
        in_channels=(64, 32, 64, 128, 256),
        strides=(4, 4, 8, 8, 8),
        channels=(32, 64, 64, 64, 64),
        num_groups=(4, 8, 8, 8, 8)),
    # An image has 24 x 24 cells, a fifth of the published 128 x 128: lengths
    # shrink likewise, and the steps of a random walk with their square.
    radius=5,
    propagate=dict(crop_size=96, log_steps=3),
    instances=dict(threshold=0.5))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=4)
]
train_cfg = dict(max_epochs=4)
val_cfg = None
