# Labels of sure pixels from refined CAMs: a class above 0.5, background below
# 0.25, nothing between them. Not tuned.
_base_ = '../_base_/datasets/voc_frozen.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_aug.txt',
    labels_file='image_labels.json',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.ThresholdMask', threshold=0.5, low=0.25),
        dict(type='mmwsss.SaveMask')
    ])
