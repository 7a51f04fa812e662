# VWL-L with a MobileNetV2 and fewer words on a small part of VOC.
_base_ = 'hp_mobilenet-v2_voc-mini.py'
model = dict(
    regularizers=dict(
        vwl=dict(
            type='mmwsss.VisualWordsLearning',
            num_words=64,
            in_channels=320,
            num_classes=20,
            codebook='learned')))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
