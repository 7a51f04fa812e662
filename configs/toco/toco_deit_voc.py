# ToCo on DeiT-B.
_base_ = './toco_vit_voc.py'
model = dict(
    backbone=dict(
        # deit_base_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(checkpoint='checkpoints/deit_base_patch16_224.pth')))
