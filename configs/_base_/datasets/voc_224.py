# voc_384.py at 224 pixels and in batches, for small GPUs.
_base_ = './voc_384.py'
crop_size = (224, 224)
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    # [int(0.9 * 224), int(224 / 0.875)]
    dict(type='mmwsss.RandomLongSideResize', low=201, high=256),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=224),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.SquareResize', size=224),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=16,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=16, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
