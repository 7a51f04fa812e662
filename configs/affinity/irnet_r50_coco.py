# irnet_r50_voc.py on COCO 2014. The walk's background score is AMN's there.
_base_ = [
    '../_base_/models/irnet_r50.py', '../_base_/datasets/coco_irn_512.py',
    '../_base_/schedules/irn_3e.py', '../_base_/walk_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    propagate=dict(threshold=0.22))
