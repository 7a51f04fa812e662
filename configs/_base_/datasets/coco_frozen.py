# coco_384.py with images at their own size: frozen networks resize them by
# their own rules.
_base_ = './coco_384.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
