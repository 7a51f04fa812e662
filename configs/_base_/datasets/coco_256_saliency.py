# COCO 2014 with what voc_256_saliency.py does to the images: trains on
# train_tagged (82,081 images), measures masks on val (40,504 images).
# Saliency: Saliency/train2014/{id}.png.
# Prepare: python tools/dataset_converters/coco.py data/coco2014
_base_ = './voc_256_saliency.py'
dataset_type = 'mmwsss.COCOImageLevelDataset'
data_root = 'data/coco2014'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        data_prefix=dict(saliency_path='Saliency/train2014')))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014')))
test_dataloader = val_dataloader
