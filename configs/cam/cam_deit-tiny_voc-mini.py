# The baseline of acr_deit-tiny_voc-mini.py.
_base_ = [
    '../_base_/models/cam_vit.py', '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        arch='deit-tiny',
        img_size=224,
        # An ImageNet-pretrained ViT-Ti/16 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_tiny_p16_224.pth')),
    cls_head=dict(in_channels=192),
    localizer=dict(start_layer=9))
