# Masks of setting I+S: CAMs and a dense CRF of five steps, nothing else.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.CRFMask', alpha=8, crf=dict(num_iters=5)),
    dict(type='mmwsss.SaveMask')
])
