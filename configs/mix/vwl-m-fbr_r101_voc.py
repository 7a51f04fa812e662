# Hybrid pooling, visual words in a memory bank (both VWL) and FBR at the size
# of the papers, with the schedule of VWL. FBR as in fbr_cam_r50_voc.py: there
# is no head for the background, the class maps label the positions.
_base_ = '../vwl/vwl-m_r101_voc.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=2048,
            num_classes=20,
            scores='cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            bank_size=50000)))
