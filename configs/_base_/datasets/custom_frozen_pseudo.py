# custom_frozen.py for segmentation: pseudo masks of whole images.
_base_ = './custom_frozen.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmwsss.PseudoMaskDataset',
        dataset=dict(
            type=_base_.dataset_type,
            data_root=_base_.data_root,
            ann_file='train.txt',
            labels_file=_base_.labels_file,
            img_suffix='any'),
        mask_dir='work_dirs/pseudo_masks/custom',
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadMask'),
            dict(type='mmwsss.PackWSSSInputs')
        ]))
val_evaluator = dict(_delete_=True, type='mmwsss.RefinementIoUMetric')
test_evaluator = val_evaluator
