# voc_mini_224.py for segmentation: pseudo masks in crops of 192 pixels.
# True masks show the ceiling: set train_dataloader.dataset.mask_dir to
# data/voc_mini/SegmentationClass.
dataset_type = 'mmwsss.VOCImageLevelDataset'
data_root = 'data/voc_mini'
labels_file = 'image_labels_voc_xml.json'
crop_size = (192, 192)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.RandomRescale', low=0.6, high=1.2),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=192),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
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
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(
        type='mmwsss.PseudoMaskDataset',
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            ann_file='ImageSets/Segmentation/train_bal.txt',
            labels_file=labels_file),
        mask_dir='work_dirs/pseudo_masks/voc_mini',
        pipeline=train_pipeline))
val_dataloader = dict(
    # Images have their own sizes.
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val_bal.txt',
        labels_file=labels_file,
        with_masks=True,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
