# The usual recipe of CNN classifiers for class maps: five epochs of SGD, the
# head ten times faster than the pretrained backbone.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=10.))))
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        end=5,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
