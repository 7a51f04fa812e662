# refine_fbr-irn-labels_voc.py for COCO 2014.
_base_ = '../_base_/refine/coco.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.IRNLabel', fg_threshold=0.45, bg_threshold=0.15),
    dict(type='mmwsss.SaveMask')
])
