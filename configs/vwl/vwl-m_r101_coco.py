# VWL-M on COCO 2014. Settings are inferred from VOC's (vwl-m_r101_voc.py):
# none were published.
_base_ = 'vwl-l_r101_coco.py'
model = dict(
    backbone=dict(frozen_stages=0),
    regularizers=dict(vwl=dict(codebook='memory', momentum=1e-3)))
