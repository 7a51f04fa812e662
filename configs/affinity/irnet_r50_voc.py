# IRNet with its published settings, boundary branch only.
_base_ = [
    '../_base_/models/irnet_r50.py', '../_base_/datasets/voc_irn_512.py',
    '../_base_/schedules/irn_3e.py', '../_base_/walk_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')))
