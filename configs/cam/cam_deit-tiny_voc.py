# Plain DeiT-T classifier, the baseline of acr_deit-tiny_voc.py.
_base_ = [
    '../_base_/models/cam_vit.py', '../_base_/datasets/voc_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        arch='deit-tiny',
        img_size=224,
        # deit_tiny_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/deit_tiny_patch16_224.pth')),
    cls_head=dict(in_channels=192),
    localizer=dict(start_layer=9))
