# IRNet with its published settings, both branches: instances beside masks.
# The displacement branch learns ten times as fast as the boundary branch.
_base_ = [
    '../_base_/models/irnet_r50.py', '../_base_/datasets/voc_irn_512.py',
    '../_base_/schedules/irn_3e.py', '../_base_/instances_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    displacement_head=dict(type='mmwsss.DisplacementHead'),
    instances=dict(
        num_steps=300, threshold=2.5, background=0.25, min_area=0.01))
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.LoadInstances'),
    dict(type='mmwsss.PackWSSSInputs')
]
test_dataloader = dict(
    dataset=dict(
        # Of the images of train only; those that SBD added have none.
        data_prefix=dict(
            seg_map_path='SegmentationClass',
            instance_path='SegmentationObject'),
        pipeline=test_pipeline))
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.InstanceAP')
]
