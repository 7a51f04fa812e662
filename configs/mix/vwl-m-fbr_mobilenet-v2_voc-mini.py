# Hybrid pooling, visual words in a memory bank (both VWL) and FBR with a
# MobileNetV2, on a small part of VOC.
_base_ = ['../vwl/vwl-m_mobilenet-v2_voc-mini.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=320,
            num_classes=20,
            scores='cams',
            # After an epoch: before, an untrained head labels the positions.
            start_iter=44)))
