# CRF scores with the background exponents of SEAM, 4 and 24, and masks
# with 4, all from one lattice per image.
_base_ = '../_base_/datasets/shapes.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train.txt',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(
            type='mmwsss.CRFScores',
            alphas=(4, 24),
            # Narrow kernels: the images are 96 pixels wide.
            crf=dict(
                num_iters=5,
                gaussian_sxy=1,
                gaussian_compat=2,
                bilateral_sxy=20,
                bilateral_srgb=8,
                bilateral_compat=3)),
        dict(type='mmwsss.SaveScores', alphas=(4, 24)),
        dict(type='mmwsss.ScoreMask', alpha=4),
        dict(type='mmwsss.SaveMask', out_dir='masks')
    ])
