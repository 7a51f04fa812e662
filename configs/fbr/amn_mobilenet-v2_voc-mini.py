# AMN with the MobileNetV2 of cam_mobilenet-v2_voc-mini.py, on a small part of
# VOC: 14 x 14 maps of 224 pixels, dilations that fit them.
_base_ = [
    '../_base_/models/amn_r50.py', '../_base_/datasets/voc-mini_amn.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(6, ),
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        # An ImageNet-pretrained MobileNetV2 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/mobilenet_v2.pth',
            prefix='backbone.')),
    cls_head=dict(in_channels=320, dilations=(1, 2, 4, 6)),
    # One scale, like the other configs on this data.
    test_cfg=dict(scales=(1.0, )))
val_evaluator = dict(fixed_threshold=0.25)
test_evaluator = val_evaluator
