# voc-mini_frozen.py with CAM files of an earlier stage.
_base_ = './voc-mini_frozen.py'
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
val_dataloader = None
val_evaluator = None
test_dataloader = dict(
    dataset=dict(cam_dir='work_dirs/cams/voc-mini', pipeline=test_pipeline))
