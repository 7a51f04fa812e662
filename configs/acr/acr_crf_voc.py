# CRF scores with the background exponents of ACR's script, 1 and 12, and masks
# with exponent 1, all from one lattice per image.
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
        dict(
            type='mmwsss.CRFScores',
            alphas=(1, 12)),
        dict(type='mmwsss.SaveScores', alphas=(1, 12)),
        dict(type='mmwsss.ScoreMask', alpha=1),
        dict(type='mmwsss.SaveMask', out_dir='masks')
    ])
