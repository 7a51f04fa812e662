# FBR on a plain classifier, on the generated Shapes images. There is no head
# for the background here, so positions are labelled by the CAMs
# against a constant, as in setting I+S.
_base_ = ['../cam/cam_r18_shapes.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=256,
            num_classes=6,
            scores='cams',
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
