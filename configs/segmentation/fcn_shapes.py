# A small network from random weights on the generated Shapes images.
_base_ = [
    '../_base_/models/fcn_small.py', '../_base_/datasets/shapes_pseudo.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/seg_epoch_runtime.py',
    '../_base_/narrow_crf.py'
]
model = dict(decode_head=dict(num_classes=7))
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='probs',
    crf=_base_.narrow_crf)
