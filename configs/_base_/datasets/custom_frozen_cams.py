# custom_frozen.py with CAM files of an earlier stage.
_base_ = './custom_frozen.py'
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
val_dataloader = None
val_evaluator = None
test_dataloader = dict(
    dataset=dict(
        ann_file='train.txt',
        cam_dir='work_dirs/cams/custom',
        pipeline=test_pipeline))
