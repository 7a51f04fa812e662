# FBR on SEAM, on the generated Shapes images: both views, as in setting I+S,
# labelled by the refined maps.
_base_ = '../seam/seam_r18_shapes.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=256,
            num_classes=6,
            scores='refined_cams',
            both_views=True,
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            # The second view's size.
            grid=(6, 6),
            bank_size=50000,
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
