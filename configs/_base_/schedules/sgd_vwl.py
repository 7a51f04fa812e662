# VWL's schedule as its script really runs it: six epochs of SGD with a
# momentum of 1e-4, i.e. practically none. As in SEAM's script (sgd_seam.py),
# the optimiser class hands the weight decay to SGD's momentum as well; the
# momentum: 0.9 of VWL's settings is never read.
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            cls_head=dict(lr_mult=10.), regularizers=dict(lr_mult=10.))))
# lr(t) = 0.01 * (1 - t / T)^0.9 over all T = 6 * 661 steps; 6.002 epochs are
# T + 1 (see sgd_seam.py).
param_scheduler = [dict(_base_.param_scheduler[0], end=6.002)]
train_cfg = dict(max_epochs=6, val_interval=6)
