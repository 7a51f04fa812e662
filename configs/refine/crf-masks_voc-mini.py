# Masks from class maps and a dense CRF: background score (1 - max)^alpha as in
# PSA and EPS. With a constant score: alpha=None, threshold=0.2; as in VWL also
# softmax=True.
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
        dict(type='mmwsss.CRFMask', alpha=8),
        dict(type='mmwsss.SaveMask')
    ])
