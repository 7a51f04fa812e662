# Fine-tuning a small ViT classifier in minutes: AdamW, head ten times faster.
_base_ = './poly_epochs.py'
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(
        cls_head=dict(lr_mult=10.), decode_head=dict(lr_mult=10.))))
param_scheduler = [dict(_base_.param_scheduler[0], end=8)]
train_cfg = dict(max_epochs=8, val_interval=8)
