# CAM files of any method, averaged over what looks alike to a frozen network.
# Nothing is trained: tools/test.py CONFIG needs no checkpoint.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    # Frozen networks normalise by themselves.
    mean=[0., 0., 0.],
    std=[1., 1., 1.],
    bgr_to_rgb=True,
    size_divisor=1)
model = dict(
    type='mmwsss.AffinityRefiner',
    data_preprocessor=data_preprocessor,
    affinity=dict(kernel='cosine', power=2.),
    threshold=0.4)
