# GETAM on DeiT-B.
_base_ = './getam_vit_voc.py'
model = dict(
    backbone=dict(
        # deit_base_patch16_384, converted by tools/model_converters/deit.py
        init_cfg=dict(checkpoint='checkpoints/deit_base_patch16_384.pth')))
