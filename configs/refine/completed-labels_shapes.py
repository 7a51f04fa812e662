# GETAM's activation-aware label completion, with the saliency maps that come
# with the data set. A smaller opening: the images are 96 pixels wide.
_base_ = '../_base_/datasets/shapes.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train.txt',
    data_prefix=dict(saliency_path='Saliency'),
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadSaliency'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.PAMRCams'),
        dict(type='mmwsss.CompleteLabels', cut=0.95, opening=4),
        dict(type='mmwsss.SaveMask')
    ])
