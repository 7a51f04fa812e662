# PASCAL VOC 2012: trains on pseudo masks of train_aug (10,582 images) in crops
# of 321 pixels, measures on the true masks of val (1,449 images).
# Prepare: python tools/dataset_converters/voc.py data/VOCdevkit/VOC2012
_base_ = './pseudo_masks.py'
dataset_type = 'mmwsss.VOCImageLevelDataset'
data_root = 'data/VOCdevkit/VOC2012'
crop_size = (321, 321)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=321),
    dict(type='mmwsss.PackWSSSInputs')
]
# One look: DeepLabV2 has its scales inside.
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(
        type='TestTimeAug',
        transforms=[[dict(type='RandomFlip', prob=0.)],
                    [dict(type='mmwsss.PackWSSSInputs')]])
]
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    sampler=dict(type='mmwsss.InfiniteSeededSampler'),
    dataset=dict(
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            ann_file='ImageSets/Segmentation/train_aug.txt',
            labels_file='image_labels.json'),
        mask_dir='work_dirs/pseudo_masks/voc',
        pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=4,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        labels_file='image_labels.json'))
test_dataloader = val_dataloader
