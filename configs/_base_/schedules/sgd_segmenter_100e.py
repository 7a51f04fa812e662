# WeakTr's retraining: SGD with Nesterov momentum, 100 epochs of 4 images, the
# encoder ten times slower. The learning rate falls to a tenth: the published
# one is 0.9 (1 - t)^0.9 + 0.1 of its beginning, and (1 - t / 1.08)^0.9 differs
# from it by 0.02 at most, for encoder and decoder alike.
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=1e-4, momentum=0.9, nesterov=True, weight_decay=0.),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
param_scheduler = [dict(_base_.param_scheduler[0], end=108)]
train_cfg = dict(max_epochs=100, val_interval=100)
