# VWL-M with an EfficientNet-Lite2 and fewer words on a small part of VOC.
_base_ = './vwl-l_lite2-160_voc-mini.py'
model = dict(
    regularizers=dict(
        # Ten times the paper's momentum, in a tenth of its steps.
        vwl=dict(codebook='memory', momentum=1e-2)))
