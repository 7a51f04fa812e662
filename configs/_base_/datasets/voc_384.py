# PASCAL VOC 2012: trains on the tags of train_aug (10,582 images), measures
# CAMs on the masks of train (1,464 images), as the papers do.
# Prepare: python tools/dataset_converters/voc.py data/VOCdevkit/VOC2012
dataset_type = 'mmwsss.VOCImageLevelDataset'
data_root = 'data/VOCdevkit/VOC2012'
crop_size = (384, 384)
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    # [int(0.9 * 384), int(384 / 0.875)]
    dict(type='mmwsss.RandomLongSideResize', low=345, high=438),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=384),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    # The published protocol does not keep the aspect ratio.
    dict(type='mmwsss.SquareResize', size=384),
    # After the resize: the mask stays at the image's own size.
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmwsss.InfiniteSeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        labels_file='image_labels.json',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='image_labels.json',
        with_masks=True,
        # 'SegmentationClass' works as well for train and val.
        data_prefix=dict(seg_map_path='SegmentationClassAug'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmwsss.CAMIoUMetric')
test_evaluator = val_evaluator
