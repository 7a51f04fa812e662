# Masks from CAMs and a constant background score, nothing refined.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.ThresholdMask', threshold=0.4),
    dict(type='mmwsss.SaveMask')
])
