# The baseline of seam_resnet38_voc.py: the same recipe without a second view.
_base_ = [
    '../_base_/models/cam_resnet38.py', '../_base_/datasets/voc_448.py',
    '../_base_/schedules/sgd_seam.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # ImageNet weights: convert the published .params file with
        #   tools/model_converters/resnet38.py IN OUT
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet38.pth')))
val_evaluator = dict(fixed_threshold=0.26)
test_evaluator = val_evaluator
