# FBR in setting I, image-level tags alone: on AMN.
_base_ = './amn_r50_voc.py'
model = dict(
    regularizers=dict(
        # Its defaults are the settings on AMN.
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=2048,
            num_classes=20)))
