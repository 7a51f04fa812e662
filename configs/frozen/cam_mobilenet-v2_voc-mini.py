# cam_lite2_voc-mini.py with a MobileNetV2.
_base_ = './cam_lite2_voc-mini.py'
model = dict(backbone=dict(networks=[_base_.mobilenet_v2]))
