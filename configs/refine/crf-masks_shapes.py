# Masks from class maps and a dense CRF: background score (1 - max)^alpha as in
# PSA and EPS. With a constant score: alpha=None, threshold=0.2; as in VWL also
# softmax=True.
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
            type='mmwsss.CRFMask', alpha=8,
            crf=dict(
                num_iters=5,
                gaussian_sxy=1,
                gaussian_compat=2,
                bilateral_sxy=20,
                bilateral_srgb=8,
                bilateral_compat=3)),
        dict(type='mmwsss.SaveMask')
    ])
