# Your own images, 512 pixel crops as in voc_512.py. Classes are those of the
# label file, which may be of any format that docs/data.md names. With
#   python tools/dataset_converters/custom.py TAGS data/custom
# you get data/custom with checked tags, and a config for them.
dataset_type = 'mmwsss.ImageLevelDataset'
data_root = 'data/custom'
labels_file = 'image_labels.json'
crop_size = (512, 512)
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.RandomLongSideResize', low=320, high=640),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.PackWSSSInputs')
]
# Pictures may have any size: the configs written for yours set
# model.test_cfg.max_pixels (mmseg's models: mode='slide'), see docs/data.md.
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    # Left out where there are no masks.
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train.txt',
        labels_file=labels_file,
        img_suffix='any',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.txt',
        labels_file=labels_file,
        img_suffix='any',
        # Measured where there are masks, shown in any case.
        with_masks='auto',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmwsss.CAMIoUMetric')
test_evaluator = val_evaluator
