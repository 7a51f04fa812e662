# CRF scores with the background exponents of ACR's script, 1 and 12, and masks
# with exponent 1, all from one lattice per image.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.CRFScores', alphas=(1, 12)),
    dict(type='mmwsss.SaveScores', alphas=(1, 12)),
    dict(type='mmwsss.ScoreMask', alpha=1),
    dict(type='mmwsss.SaveMask', out_dir='masks')
])
