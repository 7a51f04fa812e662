# custom.py with images at their own size: frozen networks resize them by
# their own rules.
_base_ = './custom.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    # Left out where there are no masks.
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    num_workers=1,
    sampler=dict(type='mmwsss.InfiniteSeededSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
