# Hybrid pooling, visual words in a memory bank (both VWL) and FBR at the size
# of the papers, with the schedule of VWL. FBR as in fbr_cam_r50_voc.py: there
# is no head for the background, the CAMs label the positions.
_base_ = ['../vwl/vwl-m_r101_voc.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=2048,
            num_classes=20,
            scores='cams')))
