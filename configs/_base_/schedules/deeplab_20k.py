# SGD over 20,000 steps of 10 images, learning rate to the power 0.9. Learning
# rates per part of the network stand in the configs, which know the heads.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4))
# mmengine decays over end - 1 steps.
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., end=20001, by_epoch=False)
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=20000, val_interval=20000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
