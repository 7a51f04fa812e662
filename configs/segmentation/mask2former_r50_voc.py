# Mask2Former with a ResNet-50 from ImageNet weights, a stronger last stage
# than the papers' DeepLabV2. It needs mmdet: pip install
# "mmwsss[mask2former]". Settings are Mask2Former's, the length that of VOC in
# mmseg.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/voc_pseudo_512.py',
    '../_base_/schedules/adamw_mask2former_40k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')))
