# FBR on SEAM with a MobileNetV2, on a small part of VOC: see
# docs/reproduction.md.
_base_ = ['../seam/seam_mobilenet-v2_voc-mini.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=320,
            num_classes=20,
            scores='refined_cams',
            both_views=True,
            # The second view's size.
            grid=(7, 7),
            # After an epoch: before, an untrained head labels the positions.
            start_iter=44)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
