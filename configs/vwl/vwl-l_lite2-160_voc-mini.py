# VWL-L with an EfficientNet-Lite2 and fewer words on a small part of VOC.
_base_ = './hp_lite2-160_voc-mini.py'
model = dict(
    regularizers=dict(
        vwl=dict(
            type='mmwsss.VisualWordsLearning',
            num_words=64,
            in_channels=1280,
            num_classes=20,
            codebook='learned')))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
