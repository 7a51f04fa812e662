# FBR in setting I+S: tags and saliency maps.
_base_ = [
    '../_base_/models/fbr_resnet38.py',
    '../_base_/datasets/voc_448_saliency.py',
    '../_base_/schedules/sgd_eps_20k.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        # ImageNet weights: convert the published .params file with
        #   tools/model_converters/resnet38.py IN OUT
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet38.pth')))
val_evaluator = dict(fixed_threshold=0.22)
test_evaluator = val_evaluator
