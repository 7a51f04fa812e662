# Confident labels for IRNet: foreground above the high threshold, background
# below the low one, each after a dense CRF, the rest ignored.
_base_ = '../_base_/refine/shapes.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.IRNLabel',
        fg_threshold=0.30,
        bg_threshold=0.05,
        crf=_base_.narrow_crf),
    dict(type='mmwsss.SaveMask')
])
