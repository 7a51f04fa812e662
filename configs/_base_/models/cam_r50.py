# CAM (Zhou et al., CVPR 2016) on a ResNet-50 whose last stage keeps stride 16.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.CAMSegmentor',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(3, ),
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=True),
        # torchvision's resnet50 weights load as they are: set
        # init_cfg=dict(type='Pretrained', checkpoint=PATH).
        norm_eval=True),
    cls_head=dict(
        type='mmwsss.CAMHead',
        num_classes=20,
        in_channels=2048,
        pooling=dict(type='mmwsss.GlobalAveragePooling')),
    localizer=dict(type='mmwsss.CAM'),
    train_cfg=dict(),
    test_cfg=dict(
        scales=(1.0, ), flip=True, normalize='max', eps=1e-5, threshold=0.3))
