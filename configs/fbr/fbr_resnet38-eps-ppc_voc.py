# FBR in setting I+S, tags and saliency maps, as released: PPC on EPS with
# thresholded pooling and with FBR in place of PPC's intra-view term.
_base_ = ['./eps-ppc_resnet38_voc.py', '../_base_/models/fbr.py']
model = dict(
    cls_head=dict(
        pooling=dict(type='mmwsss.ThresholdedAveragePooling', threshold=0.1)),
    regularizers=dict(
        ppc=dict(foreground_only=True, intra_weight=0.),
        fbr=dict(
            _base_.fbr,
            in_channels=4096,
            num_classes=20,
            scores='refined_cams',
            # The second view's size.
            grid=(16, 16),
            both_views=True,
            bg_weight=0.01)))
