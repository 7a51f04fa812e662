# VWL-M: visual words kept in a memory bank that follows the features. Here the
# published code lets the gradient through all stages; only the stem is fixed.
_base_ = 'vwl-l_r101_voc.py'
model = dict(
    backbone=dict(frozen_stages=0),
    regularizers=dict(vwl=dict(codebook='memory', momentum=1e-3)))
