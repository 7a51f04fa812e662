# voc-mini_224.py for segmentation: pseudo masks in crops of 192 pixels.
# True masks show the ceiling: set train_dataloader.dataset.mask_dir to
# data/voc_mini/SegmentationClass.
_base_ = './pseudo_masks.py'
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
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            ann_file='ImageSets/Segmentation/train_bal.txt',
            labels_file=labels_file),
        mask_dir='work_dirs/pseudo_masks/voc-mini',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val_bal.txt',
        labels_file=labels_file))
test_dataloader = val_dataloader
