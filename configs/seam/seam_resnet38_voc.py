# SEAM as its script runs it.
_base_ = [
    '../_base_/models/seam_resnet38.py', '../_base_/datasets/voc_448.py',
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
# The paper names SGD without a momentum; its script's is 5e-4 by accident. For
# the usual one (try lr=0.001 with it):
# optim_wrapper = dict(optimizer=dict(momentum=0.9))
