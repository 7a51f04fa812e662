# EMANet, which VWL also reports. No settings were published with it: optimiser
# and learning rate are those of EMANet's paper, data and steps SEAM's.
_base_ = [
    '../_base_/models/emanet_r101.py', '../_base_/datasets/voc_pseudo_448.py',
    '../_base_/schedules/deeplab_20k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet101 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet101.pth')))
optim_wrapper = dict(optimizer=dict(lr=0.009, weight_decay=1e-4))
