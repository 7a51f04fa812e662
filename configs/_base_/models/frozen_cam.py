# A linear classifier on frozen features whose CAMs are pooled by rank.
_base_ = './frozen_preprocessor.py'
model = dict(
    type='mmwsss.CAMSegmentor',
    backbone=dict(type='mmwsss.FrozenFeatures', networks=[]),
    cls_head=dict(
        type='mmwsss.CAMHead',
        num_classes=20,
        in_channels=1280,
        bias=True,
        # Narrower CAMs, see docs/reproduction.md.
        bias_in_cams=True,
        # 0.99 on 22 x 22 positions.
        pooling=dict(
            type='mmwsss.GlobalWeightedRankPooling',
            decay=0.99,
            num_positions=484),
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01)),
    localizer=dict(type='mmwsss.CAM'),
    test_cfg=dict(flip=False, normalize='minmax', threshold=0.4))
