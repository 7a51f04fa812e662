# DeepLabV1 with a large field of view (arXiv 1412.7062) on a ResNet-101 at
# stride 8. The head's batch norm learns statistics but neither scale nor
# shift, as in SEAM's retraining.
data_preprocessor = dict(
    type='mmwsss.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    # Images of a batch have one size already; nothing is padded.
    size_divisor=1)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
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
        type='mmwsss.LargeFOVHead',
        in_channels=2048,
        in_index=0,
        channels=512,
        dilation=12,
        dropout_ratio=0.5,
        norm_cfg=dict(type='BN', requires_grad=False),
        align_corners=True,
        num_classes=21,
        # The mean is over labelled pixels, not over all.
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
# SEAM's test: logits of all scales and flips averaged, one step of CRF.
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=1,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=32,
        bilateral_srgb=13,
        bilateral_compat=10))
# On several GPUs batch norm normalises the images of all of them.
sync_bn = 'torch'
