# COCO 2014, 80 classes: what coco_X.py changes of voc_X.py. CAMs are
# measured on the masks of the training images in a test, as the papers do, and
# on every 16th of them at the end of a training; segmentation on val2014.
# Prepare: python tools/dataset_converters/coco.py data/coco2014
coco = dict(
    # All images of train2014 that show a class (82,081), without masks.
    train=dict(
        type='mmwsss.COCOImageLevelDataset',
        data_root='data/coco2014',
        ann_file='ImageSets/Segmentation/train_tagged.txt'),
    # The same images with their masks.
    train_masks=dict(
        type='mmwsss.COCOImageLevelDataset',
        data_root='data/coco2014',
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014')),
    # Every 16th of them (5,131).
    train_part=dict(
        type='mmwsss.COCOImageLevelDataset',
        data_root='data/coco2014',
        ann_file='ImageSets/Segmentation/train_part.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014')),
    # All of val2014 (40,504).
    val=dict(
        type='mmwsss.COCOImageLevelDataset',
        data_root='data/coco2014',
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014')))
