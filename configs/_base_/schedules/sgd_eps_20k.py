# The schedule of EPS, PPC and FBR (setting I+S) as their scripts really run
# it: 20,000 steps of SGD with a momentum of 5e-4, i.e. practically none (see
# sgd_seam.py), learning rates sized for 15 epochs of 1322 steps. For the
# stated setting write
#   optim_wrapper = dict(optimizer=dict(momentum=0.9))
# in your config and expect to need a tenth of the learning rate.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=5e-4, weight_decay=5e-4),
    # The scripts' faster rates of biases change nothing: there are none.
    paramwise_cfg=dict(
        custom_keys=dict(
            cls_head=dict(lr_mult=10.),
            refiner=dict(lr_mult=10.),
            regularizers=dict(lr_mult=10.))))
# lr(t) = 0.01 * (1 - t / 19830)^0.9, and 0 in the last 170 steps; mmengine
# decays over end - 1 steps.
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., end=19831, by_epoch=False)
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=20000, val_interval=20000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
