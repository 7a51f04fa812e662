# Frozen networks, for FrozenFeatures and FrozenAffinity: how each sees an
# image and which of its maps are read. Features are computed once and kept in
# cache_dir; None computes them anew in every epoch.
# In place of a file of weights, checkpoint='timm://' lets timm download what
# belongs to a model_name.
#
# Networks that say what is there, trained as classifiers:
efficientnet_lite2 = dict(
    backbone=dict(
        type='mmwsss.TimmBackbone',
        model_name='tf_efficientnet_lite2',
        output_stride=16,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/tf_efficientnet_lite2.pth')),
    channels=1280,
    long_side=352,
    # Not ImageNet's usual values.
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
    cache_dir='work_dirs/features/efficientnet-lite2')
mobilenet_v2 = dict(
    backbone=dict(
        type='mmwsss.DilatedMobileNetV2',
        out_indices=(7, ),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/mobilenet_v2.pth',
            prefix='backbone.')),
    channels=1280,
    long_side=336,
    cache_dir='work_dirs/features/mobilenet-v2')
resnet50 = dict(
    backbone=dict(
        type='ResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(3, ),
        style='pytorch',
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    channels=2048,
    long_side=448,
    cache_dir='work_dirs/features/resnet50')
# Networks that say what belongs together. The first of their maps, of a block
# at 3/4 of the depth, serves the affinity (out_index=0, channels of one map).
vit_tiny = dict(
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='deit-tiny',
        img_size=224,
        out_indices=(9, 11),
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_tiny_p16_224.pth')),
    channels=384,
    out_index=(0, 1),
    long_side=336,
    cache_dir='work_dirs/features/vit-tiny')
# tools/model_converters/dinov2.py makes the file.
dinov2_small = dict(
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='dinov2-small',
        img_size=518,
        patch_size=14,
        layer_scale_init_value=1e-5,
        final_norm=True,
        interpolate_mode='bicubic',
        interpolate_antialias=True,
        out_indices=(8, 11),
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/dinov2_vits14.pth')),
    channels=768,
    out_index=(0, 1),
    long_side=336,
    divisor=14,
    cache_dir='work_dirs/features/dinov2-small')
# Self-supervised, for object discovery; patches of 8 or 16 pixels.
dino_small_p8 = dict(
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='deit-small',
        img_size=224,
        patch_size=8,
        interpolate_mode='bicubic',
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/dino_vits8.pth')),
    channels=384,
    long_side=336,
    divisor=8)
dino_small_p16 = dict(
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='deit-small',
        img_size=224,
        interpolate_mode='bicubic',
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/dino_vits16.pth')),
    channels=384,
    long_side=480)
