# Hybrid pooling alone, without words, on a small part of VOC.
_base_ = '../cam/cam_lite2-160_voc-mini.py'
model = dict(cls_head=dict(pooling=dict(type='mmwsss.HybridPooling')))
