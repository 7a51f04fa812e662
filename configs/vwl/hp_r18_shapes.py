# Hybrid pooling alone, without words, on the generated Shapes images.
_base_ = 'gap_r18_shapes.py'
model = dict(cls_head=dict(pooling=dict(type='mmwsss.HybridPooling')))
