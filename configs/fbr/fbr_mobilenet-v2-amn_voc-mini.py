# FBR on AMN with a MobileNetV2, on a small part of VOC.
_base_ = './amn_mobilenet-v2_voc-mini.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=320,
            num_classes=20,
            # What 690 images bring in eight epochs.
            bank_size=44000)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
