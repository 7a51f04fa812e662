# VWL-M on the generated Shapes images, with fewer words.
_base_ = 'hp_r18_shapes.py'
model = dict(
    regularizers=dict(
        vwl=dict(
            type='mmwsss.VisualWordsLearning',
            num_words=32,
            in_channels=256,
            num_classes=6,
            codebook='memory',
            # Ten times the paper's, in a tenth of its steps.
            momentum=1e-2)))
