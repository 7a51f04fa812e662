# WeakTr: attention heads weighted by a small network (arXiv 2304.01184).
_base_ = './cam_vit.py'
model = dict(
    backbone=dict(
        arch='deit-small',
        img_size=224,
        # One per class, copies of the checkpoint's class token.
        num_class_tokens=20,
        interpolate_mode='bicubic'),
    cls_head=dict(
        _delete_=True,
        type='mmwsss.WeightedAttentionHead',
        num_classes=20,
        in_channels=384,
        # The blocks of the backbone and the heads of each.
        head_weights=dict(
            type='mmwsss.AttentionHeadWeights', num_layers=12, num_heads=6)),
    localizer=dict(_delete_=True, type='mmwsss.WeightedAttentionCAM'))
