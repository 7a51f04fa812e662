# VWL's schedule as its script really runs it: six epochs of SGD with a
# momentum of 1e-4, i.e. practically none. The script's optimiser class hands
# the weight decay to SGD's momentum as well; the momentum: 0.9 of its
# settings is never read. For the stated setting write
#   optim_wrapper = dict(optimizer=dict(momentum=0.9))
# in your config and expect to need a tenth of the learning rate.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            cls_head=dict(lr_mult=10.), regularizers=dict(lr_mult=10.))))
# lr(t) = 0.01 * (1 - t / T)^0.9 over all T = 6 * 661 steps. mmengine decays
# over one step less than it is given, and rounds the number of steps down:
# 6.002 epochs are T + 1. Epochs of another length are at most a step or two
# off, so batch size and dataset may be changed freely.
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        end=6.002,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6, val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
