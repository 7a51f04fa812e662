# A MobileNetV2 whose strides 8, 16 and 32 meet in a fully convolutional head:
# 8 epochs of a small part of VOC in minutes on a CPU.
_base_ = [
    '../_base_/models/fcn_small.py', '../_base_/datasets/voc_mini_pseudo.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/seg_epoch_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.MobileNetV2',
        out_indices=(2, 4, 6),
        norm_eval=True,
        # ImageNet weights of mmpretrain.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/mobilenet_v2.pth',
            prefix='backbone.')),
    decode_head=dict(in_channels=(32, 96, 320), channels=128))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='probs',
    crf=dict(bilateral_sxy=50, bilateral_srgb=5))
