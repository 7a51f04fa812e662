# fbr_irn-labels_voc.py for the small part of VOC.
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
        dict(type='mmwsss.IRNLabel', fg_threshold=0.45, bg_threshold=0.15),
        dict(type='mmwsss.SaveMask')
    ])
