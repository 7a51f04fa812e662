# Hybrid pooling, visual words in a memory bank (both VWL) and FBR in one
# classifier, on the generated Shapes images. Words and background regions
# read the same last feature map; neither knows of the other.
_base_ = '../vwl/vwl-m_r18_shapes.py'
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
