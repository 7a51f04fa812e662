# The baseline of hp_r18_shapes.py and of the visual words: global average
# pooling of the CAMs at their own size.
_base_ = '../cam/cam_r18_shapes.py'
model = dict(cls_head=dict(pool_at_image_size=False))
