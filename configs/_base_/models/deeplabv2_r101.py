# DeepLabV2 (arXiv 1606.00915): ResNet-101 at stride 8, sums of dilated
# classifiers, and the maximum over three scales in training and testing.
data_preprocessor = dict(
    type='mmwsss.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    # Images of a batch have one size already; nothing is padded.
    size_divisor=1)
model = dict(
    type='mmwsss.MultiScaleEncoderDecoder',
    data_preprocessor=data_preprocessor,
    scales=(0.5, 0.75),
    backbone=dict(
        type='ResNet',
        depth=101,
        num_stages=4,
        out_indices=(3, ),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        style='pytorch',
        # Batch norm stays as it was pretrained.
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True),
    decode_head=dict(
        type='mmwsss.DeepLabV2Head',
        in_channels=2048,
        in_index=0,
        num_classes=21,
        dilations=(6, 12, 18, 24),
        # The mean is over labelled pixels, not over all.
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
# The maximum over scales is inside the model. The CRF is the one of the
# retraining code that VWL points to.
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=10,
        gaussian_sxy=1,
        gaussian_compat=3,
        bilateral_sxy=67,
        bilateral_srgb=3,
        bilateral_compat=4))
