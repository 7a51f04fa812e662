# FBR on a plain classifier, on the generated Shapes images. There is no head
# for the background here, so positions are labelled by the class maps
# against a constant, as in setting I+S.
_base_ = '../cam/cam_r18_shapes.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=256,
            num_classes=6,
            scores='cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            # 9 of the 144 positions of an image.
            top_share=1 / 16,
            bank_size=50000,
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
