# voc_frozen.py for segmentation: trains on pseudo masks of train_aug, measures
# on the true masks of val (1,449 images).
_base_ = './voc_frozen.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmwsss.PseudoMaskDataset',
        dataset=dict(
            type=_base_.dataset_type,
            data_root=_base_.data_root,
            ann_file='ImageSets/Segmentation/train_aug.txt',
            labels_file='image_labels.json'),
        mask_dir='work_dirs/pseudo_masks/voc',
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadMask'),
            dict(type='mmwsss.PackWSSSInputs')
        ]))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(seg_map_path='SegmentationClass')))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmwsss.RefinementIoUMetric')
test_evaluator = val_evaluator
