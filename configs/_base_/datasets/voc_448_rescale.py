# voc_384.py as single-stage methods on a ViT train: images scaled by 0.5 to 2,
# 448 pixel crops, batches of 4, strong jitter of colours. Masks are measured
# on val, at one square size.
_base_ = './voc_384.py'
crop_size = (448, 448)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=2.),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mmwsss.ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1),
    # The mean colour where the crop is larger: zero after normalisation.
    dict(type='mmwsss.PlaceCrop', size=448),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.SquareResize', size=448),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
# Images at their own size, enlarged, and their mirror images.
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[[
            dict(type='Resize', scale_factor=factor, keep_ratio=True)
            for factor in (1.0, 1.25, 1.5)
        ], [
            dict(type='RandomFlip', prob=0., direction='horizontal'),
            dict(type='RandomFlip', prob=1., direction='horizontal')
        ], [dict(type='mmwsss.LoadMask')],
                    [dict(type='mmwsss.PackWSSSInputs')]])
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt', pipeline=test_pipeline))
test_dataloader = val_dataloader
