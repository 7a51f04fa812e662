# COCO 2014 with what voc_448.py does to the images: SEAM's augmentation, 448
# pixel crops and batches of 8. Lists as in coco_384.py.
_base_ = './voc_448.py'
dataset_type = 'mmwsss.COCOImageLevelDataset'
data_root = 'data/coco2014'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt'))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_part.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014')))
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014')))
