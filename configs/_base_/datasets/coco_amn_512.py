# COCO 2014 with what voc_amn_512.py does to images and seeds. Lists as in
# coco_384.py. Seeds:
#   tools/refine_cams.py configs/refine/irn-labels_coco.py --cams CAMS \
#       --out work_dirs/irn_labels/coco
_base_ = './voc_amn_512.py'
dataset_type = 'mmwsss.COCOImageLevelDataset'
data_root = 'data/coco2014'
seed_dir = 'work_dirs/irn_labels/coco'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadPseudoMask', key='seed_map'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        mask_dir=seed_dir,
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_part.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014'),
        mask_dir=seed_dir,
        pipeline=test_pipeline))
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014'),
        mask_dir=seed_dir,
        pipeline=test_pipeline))
