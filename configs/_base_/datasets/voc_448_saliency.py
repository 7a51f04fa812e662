# voc_448.py with a saliency map for each training image, in grey levels, as
# EPS wants them: one 8-bit picture per image, Saliency/{id}.png, by any
# detector (EPS took PFAN's). Counted in steps, not epochs.
_base_ = './voc_448.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadSaliency', threshold=None),
    dict(
        type='mmwsss.RandomLongSideResize',
        low=448,
        high=768,
        interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mmwsss.ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1),
    # The mean colour where the crop is larger, and nothing salient.
    dict(type='mmwsss.PlaceCrop', size=448),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    sampler=dict(type='mmwsss.InfiniteSeededSampler'),
    dataset=dict(
        data_prefix=dict(saliency_path='Saliency'), pipeline=train_pipeline))
