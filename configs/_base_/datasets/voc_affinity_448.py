# What PSA's and SEAM's AffinityNet learns from: CRF scores of the images of
# train_aug for a low and a high background exponent, made with
#   tools/refine_cams.py configs/refine/crf-scores_voc.py --cams CAMS \
#       --out work_dirs/crf_scores/voc
# The walk is measured on the masks of train.
_base_ = './voc_384.py'
crop_size = (448, 448)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadScores'),
    dict(type='mmwsss.ColorJitter'),
    # Black where the crop is larger than the image; labels ignore that part.
    dict(type='mmwsss.PlaceCrop', size=448, pad_val=(0, 0, 0)),
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
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    dataset=dict(
        low_score_dir='work_dirs/crf_scores/voc/alpha4',
        high_score_dir='work_dirs/crf_scores/voc/alpha24',
        pipeline=train_pipeline))
val_dataloader = None
test_dataloader = dict(
    dataset=dict(cam_dir='work_dirs/cams/voc', pipeline=test_pipeline))
val_evaluator = None
test_evaluator = dict(
    _delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
