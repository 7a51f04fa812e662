# IRNet's labels from ACR's maps, which are wider than those of other methods:
# foreground above 0.45, background below 0.40, the best of the authors' sweep.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.IRNLabel', fg_threshold=0.45, bg_threshold=0.40),
    dict(type='mmwsss.SaveMask')
])
