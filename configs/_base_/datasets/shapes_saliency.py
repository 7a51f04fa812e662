# Shapes with saliency maps, as an imperfect detector would make them: see
# draw_saliency in mmwsss/datasets/shapes.py.
_base_ = './shapes.py'
saliency = dict(saliency_path='Saliency')
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadSaliency'),
    dict(type='mmwsss.RandomLongSideResize', low=86, high=109),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.SquareResize', size=96),
    dict(type='mmwsss.LoadMask'),
    # For the pseudo labels, which are measured beside the predictions.
    dict(type='mmwsss.LoadSaliency'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(data_prefix=saliency, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(data_prefix=saliency, pipeline=test_pipeline))
test_dataloader = val_dataloader
