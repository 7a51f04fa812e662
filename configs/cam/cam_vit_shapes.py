# Plain ViT classifier on the generated Shapes images, from random weights.
_base_ = [
    '../_base_/models/cam_vit.py', '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # A small relative of the paper's hybrid: 2 x 1 bottlenecks to 1/8,
        # then 6 transformer blocks on 12 x 12 tokens.
        _delete_=True,
        type='mmwsss.HybridViT',
        arch=dict(
            embed_dims=128,
            num_layers=6,
            num_heads=4,
            feedforward_channels=256),
        stem=dict(layers=(1, 1), channels=(64, 128), stem_channels=32),
        img_size=96),
    decode_head=dict(num_classes=6, in_channels=128),
    localizer=dict(start_layer=3))
