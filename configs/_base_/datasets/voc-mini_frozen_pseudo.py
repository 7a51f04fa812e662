# voc-mini_frozen.py for segmentation: pseudo masks of whole images.
# True masks show the ceiling: set train_dataloader.dataset.mask_dir to
# data/voc_mini/SegmentationClass.
_base_ = './voc-mini_frozen.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmwsss.PseudoMaskDataset',
        dataset=dict(
            type=_base_.dataset_type,
            data_root=_base_.data_root,
            ann_file='ImageSets/Segmentation/train_bal.txt',
            labels_file=_base_.labels_file),
        mask_dir='work_dirs/pseudo_masks/voc-mini',
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadMask'),
            dict(type='mmwsss.PackWSSSInputs')
        ]))
val_evaluator = dict(
    _delete_=True,
    type='mmwsss.RefinementIoUMetric',
    report_classes=[
        'background', 'cat', 'cow', 'dog', 'horse', 'person', 'sheep'
    ])
test_evaluator = val_evaluator
