# voc_frozen.py with CAM files of an earlier stage.
_base_ = './voc_frozen.py'
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
val_dataloader = None
val_evaluator = None
test_dataloader = dict(
    dataset=dict(cam_dir='work_dirs/cams/voc', pipeline=test_pipeline))
