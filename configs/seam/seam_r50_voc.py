# SEAM on a torchvision ResNet-50 whose last two stages keep stride 8. Not in
# the paper; the recipe is that of seam_resnet38_voc.py.
_base_ = 'seam_resnet38_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        style='pytorch',
        # As in ResNet-38: statistics and affine parameters stay ImageNet's.
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        frozen_stages=1,
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    cls_head=dict(in_channels=2048))
