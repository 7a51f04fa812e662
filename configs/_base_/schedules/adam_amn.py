# AMN's schedule: five epochs of Adam at a constant rate, all that is not
# pretrained 20 times faster (1e-4).
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=5e-6, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            cls_head=dict(lr_mult=20.), regularizers=dict(lr_mult=20.))))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
