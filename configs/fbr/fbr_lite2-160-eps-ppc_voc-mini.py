# FBR in setting I+S with an EfficientNet-Lite2 on a small part of VOC.
_base_ = [
    './eps-ppc_lite2-160_voc-mini.py', '../_base_/models/fbr.py'
]
model = dict(
    cls_head=dict(
        pooling=dict(type='mmwsss.ThresholdedAveragePooling', threshold=0.1)),
    regularizers=dict(
        ppc=dict(foreground_only=True, intra_weight=0.),
        fbr=dict(
            _base_.fbr,
            in_channels=1280,
            num_classes=20,
            scores='refined_cams',
            # The second view's size.
            grid=(5, 5),
            both_views=True,
            bg_weight=0.01)))
