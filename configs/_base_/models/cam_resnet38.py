# CAM on the wide ResNet-38, output stride 8: the baseline of SEAM. Every
# BatchNorm keeps its ImageNet statistics, the first two stages their weights.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.CAMSegmentor',
    # Feature maps conv4, conv5 and conv6 of the published code.
    backbone=dict(type='mmwsss.ResNet38', out_indices=(1, 2, 3)),
    cls_head=dict(
        type='mmwsss.CAMHead',
        num_classes=20,
        in_channels=4096,
        dropout_ratio=0.5,
        # Scores are means over the maps at image size.
        pool_at_image_size=True,
        init_cfg=dict(type='Xavier', layer='Conv2d', distribution='uniform')),
    localizer=dict(type='mmwsss.CAM', align_corners=False),
    train_cfg=dict(),
    test_cfg=dict(
        scales=(0.5, 1.0, 1.5, 2.0),
        interpolation='bicubic',
        flip=True,
        fuse='sum',
        normalize='shifted',
        eps=1e-5,
        # The published script's default background score.
        threshold=0.26))
