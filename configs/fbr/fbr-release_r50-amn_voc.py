# fbr_r50-amn_voc.py without the background segmentation of the paper's Eq. 6,
# which the released code leaves out in setting I.
_base_ = './amn_r50_voc.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=2048,
            num_classes=20,
            seg_weight=0.)))
