# COCO 2014 with what voc_512.py does to the images. Lists as in coco_384.py.
_base_ = './voc_512.py'
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
