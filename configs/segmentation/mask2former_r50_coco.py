# mask2former_r50_voc.py on COCO 2014: 81 classes and 100,000 steps, as
# deeplabv2_r101_coco.py.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/coco_pseudo_512.py',
    '../_base_/schedules/adamw_mask2former_40k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    decode_head=dict(
        num_classes=81,
        # The last weight is that of queries without an object.
        loss_cls=dict(class_weight=[1.] * 81 + [0.1])))
param_scheduler = [dict(_base_.param_scheduler[0], end=100001)]
train_cfg = dict(max_iters=100000, val_interval=20000)
