# refine_weaktr-crf_voc.py on COCO 2014, with a CRF of other settings. The
# authors chose 0.42 with true masks of the training images.
_base_ = '../_base_/refine/coco.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.IRNLabel', fg_threshold=0.42, bg_threshold=0.42),
    dict(type='mmwsss.SaveMask')
])
