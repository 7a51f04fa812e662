# FBR on AMN on COCO 2014. The paper reports a result and no settings, the code
# has none: AMN's recipe on COCO, which is that on VOC, with FBR's weights of
# VOC.
_base_ = [
    '../_base_/models/amn_r50.py', '../_base_/datasets/coco_amn_512.py',
    '../_base_/schedules/adam_amn.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    cls_head=dict(num_classes=80),
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=2048,
            num_classes=80)))
val_evaluator = dict(fixed_threshold=0.25)
test_evaluator = val_evaluator
