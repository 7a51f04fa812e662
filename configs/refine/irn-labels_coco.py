# irn-labels_voc.py for COCO 2014.
_base_ = '../_base_/refine/coco.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.IRNLabel', fg_threshold=0.30, bg_threshold=0.05),
    dict(type='mmwsss.SaveMask')
])
