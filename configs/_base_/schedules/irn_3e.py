# IRNet's schedule as its script really runs it: three epochs of SGD whose
# momentum is the weight decay, 1e-4 (see affinity_8e.py).
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.1, momentum=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(displacement_head=dict(lr_mult=10.))))
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        end=3,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
val_cfg = None
test_cfg = dict(type='TestLoop')
