# A narrow Mask2Former from random weights on the generated Shapes images. It
# needs mmdet: pip install "mmwsss[mask2former]".
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/shapes_pseudo.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/seg_epoch_runtime.py'
]
model = dict(
    backbone=dict(
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_eval=False,
        # Not batch norm, which would make two processes differ from one.
        norm_cfg=dict(_delete_=True, type='GN', num_groups=4)),
    decode_head=dict(
        in_channels=[16, 32, 64, 128],
        feat_channels=32,
        out_channels=32,
        num_classes=7,
        num_queries=20,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=4),
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(
                    self_attn_cfg=dict(embed_dims=32, num_heads=4),
                    ffn_cfg=dict(embed_dims=32, feedforward_channels=64))),
            positional_encoding=dict(num_feats=16)),
        positional_encoding=dict(num_feats=16),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=32, num_heads=4),
                cross_attn_cfg=dict(embed_dims=32, num_heads=4),
                ffn_cfg=dict(embed_dims=32, feedforward_channels=64))),
        # The last weight is that of queries without an object.
        loss_cls=dict(class_weight=[1.] * 7 + [0.1]),
        train_cfg=dict(num_points=512)))
