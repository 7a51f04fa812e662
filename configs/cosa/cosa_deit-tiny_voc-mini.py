# CoSA with a small ViT on a small part of VOC.
_base_ = [
    '../_base_/models/cosa_vit.py', '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        arch='deit-tiny',
        # An ImageNet-pretrained ViT-Ti/16 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_tiny_p16_224.pth')),
    cls_head=dict(in_channels=192),
    auxiliary_head=dict(in_channels=192),
    decode_head=dict(in_channels=192, channels=128),
    # A hundredth of the paper's steps, so a teacher that follows faster.
    momentum=0.98,
    train_cfg=dict(seg_start=0.25))
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            pos_embed=dict(lr_mult=0.), auxiliary_head=dict(lr_mult=10.))))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.PseudoLabelIoU')
]
test_evaluator = val_evaluator
