# fbr_irnet_r50_voc.py on COCO 2014.
_base_ = '../affinity/irnet_r50_coco.py'
model = dict(propagate=dict(cam_power=1.3))
