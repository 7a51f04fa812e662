# FBR in setting I+S on the generated Shapes images.
_base_ = './eps-ppc_r18_shapes.py'
model = dict(
    cls_head=dict(
        pooling=dict(type='mmwsss.ThresholdedAveragePooling', threshold=0.1)),
    regularizers=dict(
        ppc=dict(foreground_only=True, intra_weight=0.),
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=256,
            num_classes=6,
            scores='refined_cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            # The second view's size.
            grid=(6, 6),
            both_views=True,
            bank_size=50000,
            bg_weight=0.01)))
