# linear_lite2-vit-tiny_voc-mini.py with a MobileNetV2.
_base_ = './linear_lite2-vit-tiny_voc-mini.py'
model = dict(
    segmentor=dict(
        backbone=dict(networks=[_base_.mobilenet_v2, _base_.vit_tiny])))
