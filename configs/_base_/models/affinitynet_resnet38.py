# AffinityNet (PSA, CVPR 2018) on the wide ResNet-38, all of it trained but the
# first layers; batch norm keeps its statistics and parameters.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.AffinityNet',
    backbone=dict(type='mmwsss.ResNet38', out_indices=(1, 2, 3)),
    decode_head=dict(
        type='mmwsss.AffinityHead',
        in_channels=(512, 1024, 4096),
        channels=(64, 128, 256),
        radius=5),
    # PSA's walk. SEAM's is alpha=6, beta=8, log_steps=6.
    walk=dict(alpha=16, beta=8, log_steps=8))
