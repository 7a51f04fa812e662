# WeakTr's masks: the label map at a constant background score, refined by a
# dense CRF that trusts it with probability 0.7. With both thresholds equal,
# no pixel is ignored. The authors chose 0.43 with true masks of train.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(
        type='mmwsss.IRNLabel',
        fg_threshold=0.43,
        bg_threshold=0.43,
        crf=dict(
            gaussian_sxy=4,
            gaussian_compat=3,
            bilateral_sxy=83,
            bilateral_srgb=5,
            bilateral_compat=3)),
    dict(type='mmwsss.SaveMask')
])
