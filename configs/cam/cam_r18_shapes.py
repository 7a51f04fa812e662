# CAM baseline of SEAM on the generated Shapes images: a narrow ResNet-18 from
# random weights, 12 x 12 CAMs of 96 pixels. GroupNorm, because the two
# views of SEAM must not mix in running statistics (its own backbone is
# pretrained and keeps them frozen).
_base_ = [
    '../_base_/models/cam_r50.py', '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        out_indices=(1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=dict(_delete_=True, type='GN', num_groups=16),
        norm_eval=False),
    # Scored and read out like SEAM.
    cls_head=dict(num_classes=6, in_channels=256, pool_at_image_size=True),
    test_cfg=dict(normalize='shifted'))
val_evaluator = dict(fixed_threshold=0.3)
test_evaluator = val_evaluator
# It learns the tags three times as fast as a transformer.
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=4)
]
train_cfg = dict(max_epochs=4, val_interval=4)
