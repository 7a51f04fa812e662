# Mask2Former's AdamW over 40,000 steps of 16 images: the backbone at a tenth
# of the learning rate, no weight decay of norms and embeddings, gradients
# clipped hard.
embedding = dict(decay_mult=0.)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmwsss.GroupedOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        custom_keys=dict(
            backbone=dict(lr_mult=0.1),
            query_embed=embedding,
            query_feat=embedding,
            level_embed=embedding)))
# mmengine decays over end - 1 steps.
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., end=40001, by_epoch=False)
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=40000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
