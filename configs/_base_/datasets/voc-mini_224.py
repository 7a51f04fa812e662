# A small part of PASCAL VOC 2012 in data/voc_mini: about 700 training images,
# most of them of six animal classes. For quick runs on real images.
dataset_type = 'mmwsss.VOCImageLevelDataset'
data_root = 'data/voc_mini'
labels_file = 'image_labels_voc_xml.json'
crop_size = (224, 224)
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.RandomSquareCrop', size=224, scale=(0.6, 1.0)),
    dict(type='RandomFlip', prob=0.5),
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
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_bal.txt',
        labels_file=labels_file,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
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
# The other classes are too rare there for their IoU to mean anything.
val_evaluator = dict(
    type='mmwsss.CAMIoUMetric',
    report_classes=[
        'background', 'cat', 'cow', 'dog', 'horse', 'person', 'sheep'
    ])
test_evaluator = val_evaluator
