# VWL-L: visual words learned from the tags, by back-propagation.
_base_ = [
    '../_base_/models/vwl_r101.py', '../_base_/datasets/voc_512_bicubic.py',
    '../_base_/schedules/sgd_vwl.py', '../_base_/epoch_runtime.py'
]
val_evaluator = dict(fixed_threshold=0.13)
test_evaluator = val_evaluator
# The paper's momentum (sgd_vwl.py says why the script has none):
# optim_wrapper = dict(optimizer=dict(momentum=0.9))
