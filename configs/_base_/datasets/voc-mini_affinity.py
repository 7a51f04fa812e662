# voc_affinity_448.py for the small part of VOC, in crops of 256 pixels.
_base_ = './voc-mini_224.py'
crop_size = (256, 256)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadScores'),
    dict(type='mmwsss.ColorJitter'),
    dict(type='mmwsss.PlaceCrop', size=256, pad_val=(0, 0, 0)),
    dict(type='mmwsss.RandomFlip', prob=0.5),
    dict(type='mmwsss.AffinityLabel', stride=8),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        low_score_dir='work_dirs/crf_scores/voc-mini/alpha4',
        high_score_dir='work_dirs/crf_scores/voc-mini/alpha24',
        pipeline=train_pipeline))
val_dataloader = None
test_dataloader = dict(
    # Images have their own sizes.
    batch_size=1,
    dataset=dict(
        ann_file='ImageSets/Segmentation/train_bal.txt',
        cam_dir='work_dirs/cams/voc-mini',
        pipeline=test_pipeline))
val_evaluator = None
test_evaluator = dict(
    _delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
