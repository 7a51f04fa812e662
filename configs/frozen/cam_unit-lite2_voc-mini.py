# cam_lite2_voc-mini.py on features whose positions have one length, with a
# steeper rank pooling.
_base_ = './cam_lite2_voc-mini.py'
model = dict(
    backbone=dict(unit_length=True),
    cls_head=dict(pooling=dict(decay=0.98)))
