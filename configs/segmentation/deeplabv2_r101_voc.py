# DeepLabV2-ResNet101 from ImageNet weights, the network that VWL and ACR
# train on their masks.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/voc_pseudo_321.py',
    '../_base_/schedules/deeplabv2_20k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet101 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet101.pth')))
