# voc_pseudo_321.py in crops of 512 pixels with the colour jitter of mmseg, for
# transformers; with --tta, three scales and their mirror images.
_base_ = './voc_pseudo_321.py'
crop_size = (512, 512)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=2.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.PackWSSSInputs')
]
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=s, keep_ratio=True)
                for s in (0.75, 1.0, 1.25)
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
train_dataloader = dict(
    batch_size=16, dataset=dict(pipeline=train_pipeline))
