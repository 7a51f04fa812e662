# MCTformer+: DeiT's AdamW, 5e-4 for 512 images, here for 32 of a step, 45
# epochs. Five of warm-up, then half a cosine to 1e-5.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-4 * 32 / 512, weight_decay=0.05),
    # As timm groups them, by whose name position embeddings do decay.
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        custom_keys=dict(cls_token=dict(decay_mult=0.))))
param_scheduler = [
    dict(
        type='LinearLR',
        # 1e-6
        start_factor=0.032,
        begin=0,
        end=5,
        by_epoch=True),
    dict(
        type='CosineAnnealingLR', begin=5, end=45, eta_min=1e-5, by_epoch=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=45, val_interval=45)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
