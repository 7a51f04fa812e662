# AMN (CVPR 2022) on a ResNet-50 whose last stage keeps stride 16. Every
# BatchNorm keeps its ImageNet statistics; scales and shifts are trained, but
# for those of the stem, which is frozen.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.AMN',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(3, ),
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        frozen_stages=0),
    cls_head=dict(
        type='mmwsss.LabelConditionedHead',
        num_classes=20,
        in_channels=2048,
        dilations=(6, 12, 18, 24),
        dropout_ratio=0.1,
        # Of the dilated convolutions; the label encoder is PyTorch's.
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01)),
    # The right class keeps 0.6; half the sum of both means.
    seed_loss=dict(
        type='mmwsss.BalancedCrossEntropy',
        label_smoothing=0.4,
        loss_weight=0.5),
    train_cfg=dict(),
    test_cfg=dict(
        scales=(1.0, 0.5, 1.5, 2.0),
        interpolation='bicubic',
        flip=True,
        # The published script's background score.
        threshold=0.25))
