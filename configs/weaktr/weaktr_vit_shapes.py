# WeakTr on the generated Shapes images, from random weights, in minutes on a
# CPU. Its baseline is cam_vit_shapes.py.
_base_ = '../cam/cam_vit_shapes.py'
model = dict(
    backbone=dict(num_class_tokens=6),
    cls_head=dict(
        _delete_=True,
        type='mmwsss.WeightedAttentionHead',
        num_classes=6,
        in_channels=128,
        head_weights=dict(
            type='mmwsss.AttentionHeadWeights',
            num_layers=3,
            num_heads=4,
            # Of 12 heads, an eighth would be a single number, which may
            # never be active.
            reduction=2)),
    # Without propagation, for the reason that the base gives.
    localizer=dict(
        _delete_=True, type='mmwsss.WeightedAttentionCAM', affinity=False))
