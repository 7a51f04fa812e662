# coco_frozen.py for segmentation: trains on pseudo masks of train_tagged,
# measures on the true masks of val2014 (40,504 images).
_base_ = './coco_frozen.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmwsss.PseudoMaskDataset',
        dataset=dict(
            type=_base_.dataset_type,
            data_root=_base_.data_root,
            ann_file='ImageSets/Segmentation/train_tagged.txt',
            labels_file='image_labels.json'),
        mask_dir='work_dirs/pseudo_masks/coco',
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadMask'),
            dict(type='mmwsss.PackWSSSInputs')
        ]))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014')))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmwsss.RefinementIoUMetric')
test_evaluator = val_evaluator
