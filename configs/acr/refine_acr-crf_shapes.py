# CRF scores with the background exponents of ACR's script, 1 and 12, and masks
# with 1.5, which fits the maps' width here, all from one lattice per image.
_base_ = '../_base_/refine/shapes.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.CRFScores',
        alphas=(1, 1.5, 12),
        crf=_base_.narrow_crf),
    dict(type='mmwsss.SaveScores', alphas=(1, 12)),
    dict(type='mmwsss.ScoreMask', alpha=1.5),
    dict(type='mmwsss.SaveMask', out_dir='masks')
])
