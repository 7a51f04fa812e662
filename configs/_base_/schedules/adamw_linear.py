# Linear heads on frozen features: AdamW, learning rate linear to 0. Steps, not
# epochs, so that thirty photographs and a thousand train alike.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))
param_scheduler = [
    dict(
        type='PolyLR', power=1., eta_min=0., begin=0, end=440, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=440, val_interval=440)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
