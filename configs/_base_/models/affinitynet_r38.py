# AffinityNet (PSA, CVPR 2018) on the wide ResNet-38, all of it trained but the
# first layers; batch norm keeps its statistics and parameters.
data_preprocessor = dict(
    type='mmwsss.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    # Images of a batch have one size already; nothing is padded.
    size_divisor=1)
model = dict(
    type='mmwsss.AffinityNet',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='mmwsss.ResNet38', out_indices=(1, 2, 3)),
    decode_head=dict(
        type='mmwsss.AffinityHead',
        in_channels=(512, 1024, 4096),
        channels=(64, 128, 256),
        radius=5),
    # PSA's walk. SEAM's is alpha=6, beta=8, log_steps=6.
    walk=dict(alpha=16, beta=8, log_steps=8))
