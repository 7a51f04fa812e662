# IRNet (CVPR 2019) on a frozen ResNet-50 from ImageNet weights. Only the
# boundary branch: displacements do nothing for semantic masks. With them:
#   model = dict(displacement_head=dict(type='mmwsss.DisplacementHead'))
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.IRNet',
    backbone=dict(
        type='mmwsss.ResNetWithStem',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        style='pytorch',
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True),
    edge_head=dict(type='mmwsss.EdgeHead'),
    radius=10,
    propagate=dict(
        radius=5, beta=10, log_steps=8, threshold=0.25, crop_size=512))
