# The baseline of seam_mobilenet-v2_voc-mini.py: CAM on a MobileNetV2 whose
# last stages keep stride 16, 14 x 14 CAMs of 224 pixels.
_base_ = [
    '../_base_/models/cam_r50.py', '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        # Strides 8, 16 and 16.
        out_indices=(2, 4, 6),
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        # An ImageNet-pretrained MobileNetV2 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/mobilenet_v2.pth',
            prefix='backbone.')),
    # Scored and read out like SEAM.
    cls_head=dict(in_channels=320, pool_at_image_size=True),
    test_cfg=dict(normalize='shifted'))
val_evaluator = dict(fixed_threshold=0.3)
test_evaluator = val_evaluator
