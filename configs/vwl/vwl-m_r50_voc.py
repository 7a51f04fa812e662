# VWL-M on a ResNet-50, the backbone of the method's first version (VWE).
_base_ = 'vwl-m_r101_voc.py'
model = dict(
    backbone=dict(
        depth=50,
        # torchvision's resnet50 weights load as they are.
        init_cfg=dict(checkpoint='checkpoints/resnet50.pth')))
