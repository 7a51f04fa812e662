# FBR on the CAM baseline at the size of the papers.
_base_ = ['../cam/cam_r50_voc.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=2048,
            num_classes=20,
            scores='cams')))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
