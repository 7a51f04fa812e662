# cam_r50_voc.py on COCO 2014: the classifier whose CAMs IRNet and AMN
# start from there. Five epochs, as on VOC.
_base_ = [
    '../_base_/models/cam_r50.py', '../_base_/datasets/coco_512.py',
    '../_base_/schedules/sgd_5e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    cls_head=dict(num_classes=80),
    test_cfg=dict(scales=(0.5, 1.0, 1.5, 2.0)))
val_evaluator = dict(fixed_threshold=0.3)
test_evaluator = val_evaluator
