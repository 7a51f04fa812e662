# CRF scores for AffinityNet with the background exponents of SEAM and PSA's
# paper. PSA's code has (4, 32), ACR's (1, 12).
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
        dict(type='mmwsss.CRFScores', alphas=(4, 24)),
        dict(type='mmwsss.SaveScores', alphas=(4, 24))
    ])
