# CRF scores with SEAM's background exponents, 4 and 24, and masks with 4, all
# from one lattice per image.
_base_ = '../refine/crf-scores_voc.py'
refine_dataset = dict(pipeline=[
    *_base_.refine_dataset.pipeline,
    dict(type='mmwsss.ScoreMask', alpha=4),
    dict(type='mmwsss.SaveMask', out_dir='masks')
])
