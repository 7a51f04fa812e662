# ACR's schedule as its released script really runs it: one image per step,
# 26,450 steps (floor(10582 / 4) * 10), plain SGD. The script asks for momentum
# 0.9 and weight decay 5e-4, but hands them to the wrong arguments of its
# optimiser: what runs is momentum 5e-4 and no weight decay, and 0.9 is the
# power of the learning-rate decay. For the stated setting write
#   optim_wrapper = dict(optimizer=dict(momentum=0.9, weight_decay=5e-4))
# in your config and expect to need another learning rate.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.05, momentum=5e-4, weight_decay=0.))
# lr(t) = 0.05 * (1 - t / 26450)^0.9; mmengine decays over end - 1 steps.
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., end=26451, by_epoch=False)
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=26450, val_interval=26450)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
