# The baseline of hp_mobilenet-v2_voc-mini.py and of the visual words: global
# average pooling of the CAMs at their own size.
_base_ = '../cam/cam_mobilenet-v2_voc-mini.py'
model = dict(cls_head=dict(pool_at_image_size=False))
