# Labels of sure pixels from refined CAMs: a class above 0.5, background below
# 0.25, nothing between them. Not tuned.
_base_ = '../_base_/datasets/voc-mini_frozen.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_bal.txt',
    labels_file=_base_.labels_file,
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.ThresholdMask', threshold=0.5, low=0.25),
        dict(type='mmwsss.SaveMask')
    ])
