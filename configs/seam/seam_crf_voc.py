# CRF scores with SEAM's background exponents, 4 and 24, and masks with 4, all
# from one lattice per image.
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
        dict(type='mmwsss.SaveScores', alphas=(4, 24)),
        dict(type='mmwsss.ScoreMask', alpha=4),
        dict(type='mmwsss.SaveMask', out_dir='masks')
    ])
