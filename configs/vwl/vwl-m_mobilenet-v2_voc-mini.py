# VWL-M with a MobileNetV2 and fewer words on a small part of VOC.
_base_ = 'vwl-l_mobilenet-v2_voc-mini.py'
model = dict(
    regularizers=dict(
        # Ten times the paper's momentum, in a tenth of its steps.
        vwl=dict(codebook='memory', momentum=1e-2)))
