# FBR on AMN, on the generated Shapes images.
_base_ = './amn_r18_shapes.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=256,
            num_classes=6,
            # What 1,500 small images bring in about four epochs.
            bank_size=50000)))
