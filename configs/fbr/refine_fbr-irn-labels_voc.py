# Confident labels for IRNet from AMN's maps, which are wider than those of a
# classifier: foreground above 0.45, background below 0.15.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.IRNLabel', fg_threshold=0.45, bg_threshold=0.15),
    dict(type='mmwsss.SaveMask')
])
