# IRNet's schedule as its script really runs it: three epochs of SGD whose
# momentum is the weight decay, 1e-4 (see affinity_8e.py).
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(displacement_head=dict(lr_mult=10.))))
param_scheduler = [dict(_base_.param_scheduler[0], end=3)]
train_cfg = dict(max_epochs=3)
val_cfg = None
