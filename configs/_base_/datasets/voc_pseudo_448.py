# voc_pseudo_321.py in crops of 448 pixels with colour jitter; with --tta, six
# scales and their mirror images.
_base_ = './voc_pseudo_321.py'
crop_size = (448, 448)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.HSVJitter', delta=10),
    dict(type='mmwsss.RandomRescale', low=0.5, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=448),
    dict(type='mmwsss.PackWSSSInputs')
]
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=s, keep_ratio=True)
                for s in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type='RandomFlip', prob=0.),
                dict(type='RandomFlip', prob=1.)
            ],
            # After the resize: the mask stays at the image's own size.
            [dict(type='mmwsss.LoadMask')],
            [dict(type='mmwsss.PackWSSSInputs')],
        ])
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
