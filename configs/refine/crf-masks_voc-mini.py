# Masks from CAMs and a dense CRF: background score (1 - max)^alpha as in
# PSA and EPS. With a constant score: alpha=None, threshold=0.2; as in VWL also
# softmax=True.
_base_ = '../_base_/refine/voc-mini.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.CRFMask', alpha=8),
    dict(type='mmwsss.SaveMask')
])
