# A small part of PASCAL VOC 2012 in data/voc_mini, images at their own size:
# frozen networks resize them by their own rules.
_base_ = './voc-mini_224.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    num_workers=1,
    sampler=dict(type='mmwsss.InfiniteSeededSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
