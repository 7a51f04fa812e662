# voc_448.py with a saliency map for each training image, in grey levels, as
# EPS wants them: one 8-bit picture per image, Saliency/{id}.png, by any
# detector (EPS took PFAN's). Counted in steps, not epochs.
_base_ = './voc_448.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadSaliency', threshold=None),
    # After LoadImage; nothing is salient where the crop is larger.
    *_base_.train_pipeline[1:]
]
train_dataloader = dict(
    sampler=dict(type='mmwsss.InfiniteSeededSampler'),
    dataset=dict(
        data_prefix=dict(saliency_path='Saliency'), pipeline=train_pipeline))
