# FBR on ACR, on the generated Shapes images: the patches are labelled by the
# class head's own maps.
_base_ = ['../acr/acr_vit_shapes.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=128,
            num_classes=6,
            scores='cams',
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
