# Shapes with pseudo masks: made by tools/refine_cams.py from CAMs. True
# ones show the ceiling: set train_dataloader.dataset.mask_dir to
# data/shapes/SegmentationClass.
_base_ = './pseudo_masks.py'
dataset_type = 'mmwsss.ShapesDataset'
data_root = 'data/shapes'
crop_size = (96, 96)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.RandomLongSideResize', low=77, high=120),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            ann_file='ImageSets/Segmentation/train.txt'),
        mask_dir='work_dirs/pseudo_masks/shapes',
        pipeline=train_pipeline))
val_dataloader = dict(
    # Images have one size.
    batch_size=16,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt'))
test_dataloader = val_dataloader
