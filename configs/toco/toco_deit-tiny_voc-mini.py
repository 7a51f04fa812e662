# ToCo with a small ViT on a small part of VOC.
_base_ = [
    '../_base_/models/toco_vit.py', '../_base_/datasets/voc-mini_224.py',
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
    # Fewer neighbours: images are half as large as in the paper.
    label_maker=dict(refiner=dict(dilations=(1, 2, 4, 8))),
    regularizers=dict(
        crops=dict(
            in_channels=192,
            # 4 x 4 of 14 x 14 patches.
            crop_size=64,
            num_crops=4,
            projection=dict(
                hidden_channels=512,
                bottleneck_channels=128,
                out_channels=512))),
    train_cfg=dict(seg_start=0.25))
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            pos_embed=dict(lr_mult=0.),
            auxiliary_head=dict(lr_mult=10.),
            regularizers=dict(lr_mult=10.))))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.PseudoLabelIoU')
]
test_evaluator = val_evaluator
