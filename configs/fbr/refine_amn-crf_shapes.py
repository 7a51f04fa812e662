# Masks from AMN's CAMs and a dense CRF, with AMN's constant background
# score.
_base_ = '../_base_/refine/shapes.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.CRFMask',
        threshold=0.25,
        crf=_base_.narrow_crf),
    dict(type='mmwsss.SaveMask')
])
