# getam_vit_shapes.py without saliency maps: labels come from thresholds on
# the CAMs.
_base_ = './getam_vit_shapes.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.RandomLongSideResize', low=86, high=109),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.SquareResize', size=96),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(_delete_=True), pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(_delete_=True), pipeline=test_pipeline))
test_dataloader = val_dataloader
