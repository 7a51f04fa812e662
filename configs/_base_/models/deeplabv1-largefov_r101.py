# DeepLabV1 with a large field of view (arXiv 1412.7062) on a ResNet-101 at
# stride 8. The head's batch norm learns statistics but neither scale nor
# shift, as in SEAM's retraining.
_base_ = './encoder_decoder_r101.py'
model = dict(
    decode_head=dict(
        type='mmwsss.LargeFOVHead',
        channels=512,
        dilation=12,
        dropout_ratio=0.5,
        norm_cfg=dict(type='BN', requires_grad=False),
        align_corners=True))
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
