# CoSA on the small part of VOC.
_base_ = '../_base_/pipelines/end_to_end.py'
variables = dict(model='configs/cosa/cosa_deit-tiny_voc-mini.py')
