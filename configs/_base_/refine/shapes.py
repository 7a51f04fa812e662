# CAMs of the generated training images of Shapes, to be refined.
_base_ = '../datasets/shapes.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train.txt')
# A dense CRF with narrow kernels: the images are 96 pixels wide.
narrow_crf = dict(
    num_iters=5,
    gaussian_sxy=1,
    gaussian_compat=2,
    bilateral_sxy=20,
    bilateral_srgb=8,
    bilateral_compat=3)
