# voc_512.py with Pillow's bicubic resizing and whole batches only.
_base_ = './voc_512.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='mmwsss.RandomLongSideResize',
        low=320,
        high=640,
        interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    # The mean colour where the crop is larger: zero after normalisation.
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    drop_last=True, dataset=dict(pipeline=train_pipeline))
