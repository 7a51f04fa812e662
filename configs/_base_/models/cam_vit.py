# A plain multi-label ViT classifier, its CAMs read by GETAM.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.CAMSegmentor',
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='base',
        img_size=384,
        # ImageNet weights: convert them (tools/model_converters/timm_vit.py)
        # and set init_cfg=dict(type='Pretrained', checkpoint=PATH).
        patch_size=16),
    cls_head=dict(
        type='mmwsss.ClassTokenHead', num_classes=20, in_channels=768),
    # `grad` from the tenth block on, with affinity: ACR's script. GETAM's own
    # coupling is func='cam_grad_s'.
    localizer=dict(
        type='mmwsss.GETAM', func='grad', start_layer=10, affinity=True),
    train_cfg=dict(),
    test_cfg=dict(scales=(1.0, ), flip=True, threshold=0.4))
