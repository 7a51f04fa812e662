# COCO 2014 with what voc_irn_512.py does. Labels:
#   tools/refine_cams.py configs/refine/irn-labels_coco.py --cams CAMS \
#       --out work_dirs/irn_labels/coco
_base_ = './voc_irn_512.py'
dataset_type = 'mmwsss.COCOImageLevelDataset'
data_root = 'data/coco2014'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.DownscaleLabel', factor=4),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        mask_dir='work_dirs/irn_labels/coco',
        pipeline=train_pipeline))
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_tagged.txt',
        data_prefix=dict(seg_map_path='SegmentationClass/train2014'),
        cam_dir='work_dirs/cams/coco',
        pipeline=test_pipeline))
