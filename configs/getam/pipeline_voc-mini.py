# GETAM on the small part of VOC, without saliency maps.
_base_ = '../_base_/pipelines/end_to_end.py'
variables = dict(model='configs/getam/getam_deit-tiny_voc-mini.py')
