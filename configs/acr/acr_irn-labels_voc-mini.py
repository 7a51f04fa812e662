# acr_irn-labels_voc.py for the small part of VOC. The small network's maps are
# wider still: their best threshold on training images is 0.6, the thresholds
# lie 0.1 above and below.
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
        dict(type='mmwsss.IRNLabel', fg_threshold=0.7, bg_threshold=0.5),
        dict(type='mmwsss.SaveMask')
    ])
