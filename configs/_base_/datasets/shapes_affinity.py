# voc_affinity_448.py for the generated Shapes images, in whole images.
_base_ = './shapes.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadScores'),
    dict(type='mmwsss.ColorJitter'),
    dict(type='mmwsss.RandomFlip', prob=0.5),
    dict(type='mmwsss.AffinityLabel', stride=4),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        low_score_dir='work_dirs/crf_scores/shapes/alpha4',
        high_score_dir='work_dirs/crf_scores/shapes/alpha24',
        pipeline=train_pipeline))
val_dataloader = None
test_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        cam_dir='work_dirs/cams/shapes',
        pipeline=test_pipeline))
val_evaluator = None
test_evaluator = dict(
    _delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
