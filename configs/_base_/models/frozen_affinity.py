# CAM files of any method, averaged over what looks alike to a frozen network.
# Nothing is trained: tools/test.py CONFIG needs no checkpoint.
_base_ = './frozen_preprocessor.py'
model = dict(
    type='mmwsss.AffinityRefiner',
    affinity=dict(kernel='cosine', power=2.),
    threshold=0.4)
