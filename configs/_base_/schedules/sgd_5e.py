# The usual recipe of CNN classifiers for CAMs: five epochs of SGD, the
# head ten times faster than the pretrained backbone.
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=10.))))
param_scheduler = [dict(_base_.param_scheduler[0], end=5)]
train_cfg = dict(max_epochs=5, val_interval=5)
