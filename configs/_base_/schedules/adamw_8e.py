# Fine-tuning a small ViT classifier in minutes: AdamW, head ten times faster.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(
        cls_head=dict(lr_mult=10.), decode_head=dict(lr_mult=10.))))
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        end=8,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
