# GETAM's schedule as its script runs it: 20 epochs of floor(10582 / 4) steps,
# the first half for the classifier alone. Like ACR's (acr_26k.py says why),
# its optimiser runs with a momentum of 5e-4 and no weight decay; for the
# stated setting write
#   optim_wrapper = dict(optimizer=dict(momentum=0.9, weight_decay=5e-4))
# in your config and expect to need another learning rate.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.04, momentum=5e-4, weight_decay=0.))
param_scheduler = [
    # lr(t) = 0.04 * (1 - t / 52900)^0.9; mmengine decays over end - 1 steps.
    dict(type='PolyLR', power=0.9, eta_min=0., end=52901, by_epoch=False),
    # A tenth of it once the decoder learns, which must begin at the same
    # step: model.train_cfg.seg_start.
    dict(type='MultiStepLR', milestones=[26450], gamma=0.1, by_epoch=False),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=52900, val_interval=5290)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
