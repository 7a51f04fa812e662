# CRF scores for AffinityNet with the background exponents of SEAM and PSA's
# paper. PSA's code has (4, 32), ACR's (1, 12).
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.CRFScores', alphas=(4, 24)),
    dict(type='mmwsss.SaveScores', alphas=(4, 24))
])
