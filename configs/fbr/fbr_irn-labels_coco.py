# fbr_irn-labels_voc.py for COCO 2014.
_base_ = '../_base_/datasets/coco_384.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_tagged.txt',
    labels_file='image_labels.json',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.IRNLabel', fg_threshold=0.45, bg_threshold=0.15),
        dict(type='mmwsss.SaveMask')
    ])
