# CAMs of the training images of the small part of VOC, to be refined.
_base_ = '../datasets/voc-mini_224.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_bal.txt',
    labels_file=_base_.labels_file)
