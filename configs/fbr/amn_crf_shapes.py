# Masks from AMN's class maps and a dense CRF, with AMN's constant background
# score.
# Narrow kernels: the images are 96 pixels wide.
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
            type='mmwsss.CRFMask',
            threshold=0.25,
            crf=dict(
                num_iters=5,
                gaussian_sxy=1,
                gaussian_compat=2,
                bilateral_sxy=20,
                bilateral_srgb=8,
                bilateral_compat=3)),
        dict(type='mmwsss.SaveMask')
    ])
