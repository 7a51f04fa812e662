# deeplabv2_r101_voc.py on COCO 2014: 81 classes and 100,000 steps, the length
# of the code base whose DeepLabV2 the papers train, on images of COCO.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/coco_pseudo_321.py',
    '../_base_/schedules/deeplabv2_20k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet101 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet101.pth')),
    decode_head=dict(num_classes=81))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., end=100001, by_epoch=False)
]
train_cfg = dict(max_iters=100000, val_interval=100000)
