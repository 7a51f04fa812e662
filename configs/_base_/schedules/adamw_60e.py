# WeakTr: adamw_45e.py with 6e-4 for 512 images, here for 64 of a step, and 60
# epochs. Position embeddings do not decay.
_base_ = './adamw_45e.py'
optim_wrapper = dict(
    optimizer=dict(lr=6e-4 * 64 / 512, weight_decay=0.03),
    paramwise_cfg=dict(custom_keys=dict(pos_embed=dict(decay_mult=0.))))
param_scheduler = [
    # 1e-6
    dict(_base_.param_scheduler[0], start_factor=1 / 75),
    dict(_base_.param_scheduler[1], end=60)
]
train_cfg = dict(max_epochs=60, val_interval=60)
