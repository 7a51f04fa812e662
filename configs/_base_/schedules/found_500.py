# FOUND's schedule: 500 steps of AdamW, whose learning rate falls by 5 % every
# 50 steps.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-2, weight_decay=0.01))
param_scheduler = [
    dict(type='StepLR', step_size=50, gamma=0.95, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500)
val_cfg = None
test_cfg = None
