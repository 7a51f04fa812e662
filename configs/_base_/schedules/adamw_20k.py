# ToCo's schedule: AdamW, 1,500 steps of warm-up from a millionth of the
# learning rate, polynomial decay from the first of 20,000 steps on. Heads
# learn ten times faster than the backbone, position embeddings not at all.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            pos_embed=dict(lr_mult=0.),
            cls_head=dict(lr_mult=10.),
            auxiliary_head=dict(lr_mult=10.),
            decode_head=dict(lr_mult=10.),
            regularizers=dict(lr_mult=10.))))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=1500,
        by_epoch=False),
    # (1 - t / 20000)^0.9; mmengine decays over end - 1 steps.
    dict(type='PolyLR', power=0.9, eta_min=0., end=20001, by_epoch=False),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=20000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
