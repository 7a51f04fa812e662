# A narrow SegFormer from random weights on the generated Shapes images.
_base_ = [
    '../_base_/models/segformer_mit-b2.py',
    '../_base_/datasets/shapes_pseudo.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/seg_epoch_runtime.py'
]
model = dict(
    backbone=dict(
        embed_dims=16, num_layers=[1, 1, 1, 1], drop_path_rate=0.),
    decode_head=dict(
        in_channels=[16, 32, 80, 128],
        channels=64,
        num_classes=7,
        # Not batch norm, which would make two processes differ from one.
        norm_cfg=dict(_delete_=True, type='GN', num_groups=8)))
