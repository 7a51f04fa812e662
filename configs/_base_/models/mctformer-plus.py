# MCTformer+: one class token per class (arXiv 2308.03005).
_base_ = './cam_vit.py'
model = dict(
    backbone=dict(
        arch='deit-small',
        img_size=448,
        # One per class, copies of the checkpoint's class token.
        num_class_tokens=20,
        interpolate_mode='bicubic'),
    cls_head=dict(
        _delete_=True,
        type='mmwsss.MultiClassTokenHead',
        num_classes=20,
        in_channels=384,
        # 0.996 belongs to 784 patch tokens (448 pixels). With num_positions
        # set, the decay follows the number of tokens of the input at hand.
        pooling=dict(
            type='mmwsss.GlobalWeightedRankPooling',
            decay=0.996,
            num_positions=784)),
    regularizers=dict(
        mct=dict(type='mmwsss.ClassTokenContrast', loss_weight=1.)),
    localizer=dict(_delete_=True, type='mmwsss.ClassAttentionCAM'))
