# FBR on SEAM at the size of the papers.
_base_ = ['../seam/seam_resnet38_voc.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=4096,
            num_classes=20,
            scores='refined_cams',
            both_views=True,
            grid=(16, 16))))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
