# COCO 2014, 80 classes: voc_384.py on the tags of train_tagged (82,081
# images, all of train2014 that show a class). Class maps are measured on the
# masks of the same images in a test, as the papers do, and on every 16th of
# them (train_part, 5,131 images) at the end of a training.
# Prepare: python tools/dataset_converters/coco.py data/coco2014
_base_ = './voc_384.py'
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
