# What the segmentation models share: a ResNet-101 at stride 8 whose batch norm
# keeps scale and shift, one head that learns 21 classes.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNet',
        depth=101,
        num_stages=4,
        out_indices=(3, ),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=False)),
    decode_head=dict(
        in_channels=2048,
        in_index=0,
        num_classes=21,
        # The mean is over labelled pixels, not over all.
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
