# fbr_irnet_r50_voc.py for the small part of VOC.
_base_ = '../affinity/irnet_r18_voc-mini.py'
model = dict(propagate=dict(cam_power=1.3))
