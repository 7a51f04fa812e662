# AMN, the base of FBR in setting I: a ResNet-50 that learns the seeds of
# another classifier. tools/run_pipeline.py configs/fbr/pipeline_r50-amn_voc.py
# makes them first.
_base_ = [
    '../_base_/models/amn_r50.py', '../_base_/datasets/voc_amn_512.py',
    '../_base_/schedules/adam_amn.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')))
val_evaluator = dict(fixed_threshold=0.25)
test_evaluator = val_evaluator
