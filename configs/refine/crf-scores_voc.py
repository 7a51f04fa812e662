# CRF scores for AffinityNet with the background exponents of SEAM and PSA's
# paper. PSA's code has (4, 32), ACR's (1, 12).
_base_ = '../_base_/datasets/voc_384.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_aug.txt',
    labels_file='image_labels.json',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.CRFScores', alphas=(4, 24)),
        dict(type='mmwsss.SaveScores', alphas=(4, 24))
    ])
