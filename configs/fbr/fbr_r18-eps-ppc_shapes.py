# FBR in setting I+S on the generated Shapes images.
_base_ = ['./eps-ppc_r18_shapes.py', '../_base_/models/fbr.py']
model = dict(
    cls_head=dict(
        pooling=dict(type='mmwsss.ThresholdedAveragePooling', threshold=0.1)),
    regularizers=dict(
        ppc=dict(foreground_only=True, intra_weight=0.),
        fbr=dict(
            _base_.fbr,
            in_channels=256,
            num_classes=6,
            scores='refined_cams',
            # The second view's size.
            grid=(6, 6),
            both_views=True,
            bg_weight=0.01)))
