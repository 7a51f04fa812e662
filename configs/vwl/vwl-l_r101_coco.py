# VWL-L on COCO 2014. The paper reports a result (36.2 mIoU on val after
# segmentation) but no settings: all but the number of classes is inferred from
# VOC's, six epochs and the threshold included.
_base_ = [
    '../_base_/models/vwl_r101.py', '../_base_/datasets/coco_512_bicubic.py',
    '../_base_/schedules/sgd_vwl.py', '../_base_/epoch_runtime.py'
]
model = dict(
    cls_head=dict(num_classes=80),
    regularizers=dict(vwl=dict(num_classes=80)))
val_evaluator = dict(fixed_threshold=0.13)
test_evaluator = val_evaluator
