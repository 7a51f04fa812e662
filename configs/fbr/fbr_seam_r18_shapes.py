# FBR on SEAM, on the generated Shapes images: both views, as in setting I+S,
# labelled by the refined maps.
_base_ = ['../seam/seam_r18_shapes.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=256,
            num_classes=6,
            scores='refined_cams',
            both_views=True,
            # The second view's size.
            grid=(6, 6),
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
