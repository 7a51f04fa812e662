# CRF scores for AffinityNet with the background exponents of SEAM and PSA's
# paper. PSA's code has (4, 32), ACR's (1, 12).
_base_ = '../_base_/refine/shapes.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.CRFScores',
        alphas=(4, 24),
        crf=_base_.narrow_crf),
    dict(type='mmwsss.SaveScores', alphas=(4, 24))
])
