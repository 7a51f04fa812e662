# PSA's schedule as its script really runs it: eight epochs of SGD whose
# momentum is the weight decay, 5e-4, because the optimiser class hands the
# latter to both; 0.9 is the power of the learning-rate decay. For the stated
# setting write
#   optim_wrapper = dict(optimizer=dict(momentum=0.9))
# and expect to need a tenth of the learning rate.
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.))))
param_scheduler = [dict(_base_.param_scheduler[0], end=8)]
train_cfg = dict(max_epochs=8)
val_cfg = None
