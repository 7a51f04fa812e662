# FOUND's schedule: 500 steps of AdamW, whose learning rate falls by 5 % every
# 50 steps.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-2, weight_decay=0.01))
param_scheduler = [
    dict(type='StepLR', step_size=50, gamma=0.95, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500)
# tools/evaluate_saliency.py measures the maps.
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=1))
custom_hooks = []
