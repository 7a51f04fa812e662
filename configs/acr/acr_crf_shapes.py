# CRF scores with the background exponents of ACR's script, 1 and 12, and masks
# with 1.5, which fits the maps' width here, all from one lattice per image.
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
            alphas=(1, 1.5, 12),
            # Narrow kernels: the images are 96 pixels wide.
            crf=dict(
                num_iters=5,
                gaussian_sxy=1,
                gaussian_compat=2,
                bilateral_sxy=20,
                bilateral_srgb=8,
                bilateral_compat=3)),
        dict(type='mmwsss.SaveScores', alphas=(1, 12)),
        dict(type='mmwsss.ScoreMask', alpha=1.5),
        dict(type='mmwsss.SaveMask', out_dir='masks')
    ])
