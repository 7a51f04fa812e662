# Hybrid pooling alone, without words, on the generated Shapes images. Network
# and read-out are those of the baseline, cam_r18_shapes.py.
_base_ = '../cam/cam_r18_shapes.py'
model = dict(
    decode_head=dict(
        # Features are pooled here, before they are classified.
        pool_at_image_size=False,
        pooling=dict(type='mmwsss.HybridPooling')))
