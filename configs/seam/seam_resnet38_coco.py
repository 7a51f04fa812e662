# SEAM on COCO 2014. Not in the paper: all but the number of classes is
# inferred from seam_resnet38_voc.py, eight epochs and the threshold included.
_base_ = [
    '../_base_/models/seam_resnet38.py', '../_base_/datasets/coco_448.py',
    '../_base_/schedules/sgd_seam.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # ImageNet weights: convert the published .params file with
        #   tools/model_converters/resnet38.py IN OUT
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet38.pth')),
    cls_head=dict(num_classes=80))
val_evaluator = dict(fixed_threshold=0.26)
test_evaluator = val_evaluator
