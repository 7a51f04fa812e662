# Hybrid pooling, visual words in a memory bank (both VWL) and FBR in one
# classifier, on the generated Shapes images. Words and background regions
# read the same last feature map; neither knows of the other.
_base_ = ['../vwl/vwl-m_r18_shapes.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=256,
            num_classes=6,
            scores='cams',
            # After an epoch: before, random weights label the positions.
            start_iter=94)))
