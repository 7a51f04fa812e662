# voc_pseudo_321.py as Segmenter reads images: a short side of 520 pixels,
# crops of 480 pixels at 0.5 to 2 times that size, changed colours. Test images
# have a short side of 520, with --tta five sizes and their mirror images.
_base_ = './voc_pseudo_321.py'
crop_size = (480, 480)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(
        type='RandomResize',
        scale=(8 * 520, 520),
        ratio_range=(0.5, 2.0),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    # With the mean colours, BGR; nothing is known there.
    dict(
        type='Pad',
        size=crop_size,
        pad_val=dict(img=(104, 116, 124), seg=255)),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='Resize', scale=(8 * 520, 520), keep_ratio=True),
    # After the resize: the mask stays at the image's own size.
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                # 520 times 1 to 1.75, and 480, to which Segmenter enlarges
                # smaller ones, since its window has that size.
                dict(type='Resize', scale=(8 * s, s), keep_ratio=True)
                for s in (480, 520, 650, 780, 910)
            ],
            [
                dict(type='RandomFlip', prob=0.),
                dict(type='RandomFlip', prob=1.)
            ],
            [dict(type='mmwsss.LoadMask')],
            [dict(type='mmwsss.PackWSSSInputs')],
        ])
]
train_dataloader = dict(
    batch_size=4,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
