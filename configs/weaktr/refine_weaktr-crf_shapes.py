# refine_weaktr-crf_voc.py on Shapes, with narrow kernels and the threshold of
# the other configs for Shapes.
_base_ = '../_base_/refine/shapes.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.IRNLabel',
        fg_threshold=0.4,
        bg_threshold=0.4,
        crf=_base_.narrow_crf),
    dict(type='mmwsss.SaveMask')
])
