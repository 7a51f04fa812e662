# FBR on a plain EfficientNet-Lite2, on a small part of VOC.
_base_ = ['../cam/cam_lite2-160_voc-mini.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=1280,
            num_classes=20,
            scores='cams',
            # After an epoch: before, an untrained head labels the positions.
            start_iter=44)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
