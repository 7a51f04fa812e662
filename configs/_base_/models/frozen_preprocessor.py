# Images as they are: frozen networks resize and normalise by themselves.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[0., 0., 0.],
    std=[1., 1., 1.],
    bgr_to_rgb=True,
    size_divisor=1)
model = dict(data_preprocessor=data_preprocessor)
