# Confident labels for IRNet: foreground above the high threshold, background
# below the low one, each after a dense CRF, the rest ignored.
_base_ = '../_base_/datasets/voc_mini_224.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_bal.txt',
    labels_file=_base_.labels_file,
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(
            type='mmwsss.IRNLabel',
            fg_threshold=0.30,
            bg_threshold=0.05),
        dict(type='mmwsss.SaveMask')
    ])
