# FBR on ACR, on the generated Shapes images: the patches are labelled by the
# class head's own maps.
_base_ = '../acr/acr_vit_shapes.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=128,
            num_classes=6,
            scores='cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            bank_size=50000,
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
