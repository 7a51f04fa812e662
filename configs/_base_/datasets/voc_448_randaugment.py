# voc_384.py with the augmentation with which DeiT was trained on ImageNet:
# random parts of 448 x 448 pixels, RandAugment, erased rectangles. Test images
# have their own size.
_base_ = './voc_384.py'
crop_size = (448, 448)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=448,
        interpolation='bicubic',
        backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    # timm's rand-m9-mstd0.5-inc1
    dict(
        type='mmpretrain.RandAugment',
        # In which its policies are looked for.
        _scope_='mmpretrain',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        # Mean colours are BGR, as images are loaded.
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
    dict(
        type='mmpretrain.RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395]),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    drop_last=True,
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
