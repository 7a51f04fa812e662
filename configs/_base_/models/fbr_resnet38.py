# FBR in setting I+S, as released: PPC on EPS with thresholded pooling and with
# FBR in place of PPC's intra-view term.
_base_ = './ppc_resnet38.py'
model = dict(
    cls_head=dict(
        pooling=dict(type='mmwsss.ThresholdedAveragePooling', threshold=0.1)),
    regularizers=dict(
        ppc=dict(foreground_only=True, intra_weight=0.),
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=4096,
            num_classes=20,
            scores='refined_cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            # The second view's size.
            grid=(16, 16),
            both_views=True,
            bank_size=50000,
            bg_weight=0.01)))
