# voc_512.py with the training data of SEAM (and, but for the range of sizes,
# of other methods on ResNet-38): 448 pixel crops of images whose long side is
# between 448 and 768 pixels, batches of 8, colours jittered.
_base_ = './voc_512.py'
crop_size = (448, 448)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='mmwsss.RandomLongSideResize',
        low=448,
        high=768,
        interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mmwsss.ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1),
    # The mean colour where the crop is larger: zero after normalisation.
    dict(type='mmwsss.PlaceCrop', size=448),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=8, drop_last=True, dataset=dict(pipeline=train_pipeline))
