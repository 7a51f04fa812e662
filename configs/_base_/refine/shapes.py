# CAMs of the generated training images of Shapes, to be refined.
_base_ = ['../datasets/shapes.py', '../narrow_crf.py']
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train.txt')
