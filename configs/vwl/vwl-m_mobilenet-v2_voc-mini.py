# VWL-M with a MobileNetV2 and fewer words on a small part of VOC.
_base_ = 'vwl-l_mobilenet-v2_voc-mini.py'
model = dict(regularizers=[
    dict(
        type='mmwsss.VisualWordsLearning',
        num_words=64,
        in_channels=320,
        num_classes=20,
        codebook='memory',
        # Ten times the paper's, in a tenth of its steps.
        momentum=1e-2)
])
