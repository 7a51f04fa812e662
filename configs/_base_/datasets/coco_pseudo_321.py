# COCO 2014 with what voc_pseudo_321.py does: trains on pseudo masks of
# train_tagged (82,081 images), measures on the true masks of all of val2014
# (40,504 images).
# Prepare: python tools/dataset_converters/coco.py data/coco2014
_base_ = './voc_pseudo_321.py'
dataset_type = 'mmwsss.COCOImageLevelDataset'
data_root = 'data/coco2014'
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            ann_file='ImageSets/Segmentation/train_tagged.txt'),
        mask_dir='work_dirs/pseudo_masks/coco'))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014')))
test_dataloader = val_dataloader
