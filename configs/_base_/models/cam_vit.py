# A plain multi-label ViT classifier, its class maps read by GETAM.
data_preprocessor = dict(
    type='mmwsss.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    # Images of a batch have one size already; nothing is padded.
    size_divisor=1)
model = dict(
    type='mmwsss.CAMSegmentor',
    data_preprocessor=data_preprocessor,
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
