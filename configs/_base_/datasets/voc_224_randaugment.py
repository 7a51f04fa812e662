# voc_448_randaugment.py at 224 pixels, 64 images in a step.
_base_ = './voc_448_randaugment.py'
crop_size = (224, 224)
train_pipeline = [
    _base_.train_pipeline[0],
    dict(_base_.train_pipeline[1], scale=224),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
