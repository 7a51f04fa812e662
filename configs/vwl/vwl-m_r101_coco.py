# VWL-M on COCO 2014. Settings are inferred from VOC's (vwl-m_r101_voc.py):
# none were published.
_base_ = 'vwl-l_r101_coco.py'
model = dict(
    backbone=dict(frozen_stages=0),
    regularizers=[
        dict(
            type='mmwsss.VisualWordsLearning',
            num_words=256,
            in_channels=2048,
            num_classes=80,
            codebook='memory',
            momentum=1e-3)
    ])
