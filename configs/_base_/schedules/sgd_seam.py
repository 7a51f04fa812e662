# SEAM's schedule as its script really runs it: eight epochs of SGD with a
# momentum of 5e-4, i.e. practically none. The script's optimiser class hands
# the weight decay to SGD's momentum as well, and its own argument momentum=0.9
# is the power of the learning-rate decay. For the stated setting write
#   optim_wrapper = dict(optimizer=dict(momentum=0.9))
# in your config and expect to need a tenth of the learning rate.
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            cls_head=dict(lr_mult=10.), refiner=dict(lr_mult=10.))))
# lr(t) = 0.01 * (1 - t / T)^0.9 over all T = 8 * 1322 steps. mmengine decays
# over one step less than it is given, and rounds the number of steps down:
# 8.0008 epochs are T + 1. Epochs of another length are at most a step or two
# off, so batch size and dataset may be changed freely.
param_scheduler = [dict(_base_.param_scheduler[0], end=8.0008)]
train_cfg = dict(max_epochs=8, val_interval=8)
