# SEAM's recipe of the last stage, with a ResNet-101 from ImageNet weights.
_base_ = [
    '../_base_/models/deeplabv1-largefov_r101.py',
    '../_base_/datasets/voc_pseudo_448.py',
    '../_base_/schedules/deeplab_20k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet101 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet101.pth')))
# Head 10 times faster; its bias 20 times and without weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10.),
            'decode_head.conv_seg.bias': dict(lr_mult=20., decay_mult=0.),
        }))
