# Images as networks from ImageNet weights want them; every model here that
# fine-tunes begins with it.
data_preprocessor = dict(
    type='mmwsss.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    # Images of a batch have one size already; nothing is padded.
    size_divisor=1)
model = dict(data_preprocessor=data_preprocessor)
