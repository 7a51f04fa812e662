# refine_acr-crf_voc.py for the small part of VOC. The small network's maps are
# wide: exponents 0.5 and 6. Its images are smaller: narrower kernels. Both
# were chosen with the masks of 120 training images (docs/reproduction.md).
_base_ = '../_base_/refine/voc-mini.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.CRFScores',
        alphas=(0.5, 6),
        crf=dict(bilateral_sxy=50, bilateral_srgb=5)),
    dict(type='mmwsss.SaveScores', alphas=(0.5, 6)),
    dict(type='mmwsss.ScoreMask', alpha=0.5),
    dict(type='mmwsss.SaveMask', out_dir='masks')
])
