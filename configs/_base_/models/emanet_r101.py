# EMANet (arXiv 1907.13426) by mmseg's EMAHead, on a ResNet-101 at stride 8
# that learns its batch norm.
_base_ = './encoder_decoder_r101.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(out_indices=(2, 3), norm_cfg=norm_cfg),
    decode_head=dict(
        type='EMAHead',
        in_index=1,
        channels=256,
        ema_channels=512,
        num_bases=64,
        num_stages=3,
        momentum=0.1,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=0,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm_cfg,
        loss_decode=dict(
            type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4)))
tta_model = dict(type='mmwsss.SegTTAModel', average='probs')
# For mmseg.apis, which else would not know our loaders of images.
custom_imports = dict(imports=['mmwsss.models'], allow_failed_imports=False)
