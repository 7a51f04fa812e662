# GETAM on the distilled DeiT-B, whose distillation token takes no part.
_base_ = './getam_vit_voc.py'
model = dict(
    backbone=dict(
        distilled=True,
        # deit_base_distilled_patch16_384, converted by
        # tools/model_converters/deit.py
        init_cfg=dict(
            checkpoint='checkpoints/deit_base_distilled_patch16_384.pth')))
