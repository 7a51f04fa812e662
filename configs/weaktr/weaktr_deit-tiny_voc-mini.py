# WeakTr with a small ViT on a small part of VOC: see docs/reproduction.md. Its
# baseline is cam_deit-tiny_voc-mini.py.
_base_ = [
    '../_base_/models/weaktr.py', '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        arch='deit-tiny',
        # An ImageNet-pretrained ViT-Ti/16 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_tiny_p16_224.pth')),
    cls_head=dict(in_channels=192, head_weights=dict(num_heads=3)))
# Class tokens are the classifier of their class, so they learn as fast as the
# head. The paper's training is far longer.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(cls_token=dict(lr_mult=10.))))
