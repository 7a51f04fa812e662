# Trainings of some epochs whose learning rate falls to 0 with the power 0.9 of
# what is left. Optimizer and length stand in the schedules that inherit this.
optim_wrapper = dict(
    type='OptimWrapper', constructor='mmwsss.GroupedOptimWrapperConstructor')
param_scheduler = [
    # And end, in epochs.
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        by_epoch=True,
        convert_to_iter_based=True)
]
# And max_epochs, val_interval.
train_cfg = dict(type='EpochBasedTrainLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
