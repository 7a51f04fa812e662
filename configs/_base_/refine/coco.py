# CAMs of the training images of COCO 2014, to be refined.
_base_ = '../datasets/coco_384.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_tagged.txt',
    labels_file='image_labels.json')
