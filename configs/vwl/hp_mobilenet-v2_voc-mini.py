# Hybrid pooling alone, without words, on a small part of VOC. Network and
# read-out are those of the baseline, cam_mobilenet-v2_voc-mini.py.
_base_ = '../cam/cam_mobilenet-v2_voc-mini.py'
model = dict(
    decode_head=dict(
        # Features are pooled here, before they are classified.
        pool_at_image_size=False,
        pooling=dict(type='mmwsss.HybridPooling')))
