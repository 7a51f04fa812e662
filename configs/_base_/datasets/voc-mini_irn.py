# voc_irn_512.py for the small part of VOC, in crops of 320 pixels.
_base_ = './voc-mini_affinity.py'
crop_size = (320, 320)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.7, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=320),
    dict(type='mmwsss.DownscaleLabel', factor=4),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        # It learns from masks, not from scores.
        low_score_dir=None,
        high_score_dir=None,
        mask_dir='work_dirs/irn_labels/voc-mini',
        pipeline=train_pipeline))
