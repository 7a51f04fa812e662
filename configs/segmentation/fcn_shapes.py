# A small network from random weights on the generated Shapes images.
_base_ = [
    '../_base_/models/fcn_small.py', '../_base_/datasets/shapes_pseudo.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/seg_epoch_runtime.py'
]
model = dict(decode_head=dict(num_classes=7))
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='probs',
    # Narrow kernels: the images are 96 pixels wide.
    crf=dict(
        num_iters=5,
        gaussian_sxy=1,
        gaussian_compat=2,
        bilateral_sxy=20,
        bilateral_srgb=8,
        bilateral_compat=3))
