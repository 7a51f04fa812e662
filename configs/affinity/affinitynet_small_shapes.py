# AffinityNet on the generated Shapes images: a narrow ResNet at stride 4 from
# random weights, minutes on a CPU.
_base_ = [
    '../_base_/models/affinitynet_resnet38.py',
    '../_base_/datasets/shapes_affinity.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/walk_runtime.py',
    '../_base_/narrow_crf.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        stem_channels=32,
        base_channels=32,
        num_stages=2,
        out_indices=(0, 1),
        strides=(1, 1),
        dilations=(1, 2),
        norm_cfg=dict(type='BN', requires_grad=True)),
    decode_head=dict(
        in_channels=(32, 64), channels=(32, 32), shrink_radius=True),
    stride=4,
    # Chosen with the masks of training images: alpha with tinted bodies, the
    # others with plain ones.
    walk=dict(alpha=1.5, beta=8, log_steps=3),
    # The walk's cells have 4 pixels; a dense CRF finds the borders again.
    test_cfg=dict(crf=_base_.narrow_crf))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=4)
]
train_cfg = dict(max_epochs=4)
val_cfg = None
# On several GPUs batch norm normalises the images of all of them.
sync_bn = 'torch'
