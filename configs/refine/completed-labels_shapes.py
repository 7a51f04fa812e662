# GETAM's activation-aware label completion, with the saliency maps that come
# with the data set. A smaller opening: the images are 96 pixels wide.
_base_ = '../_base_/refine/shapes.py'
refine_dataset = dict(
    data_prefix=dict(saliency_path='Saliency'),
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadSaliency'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.PAMRCams'),
        dict(type='mmwsss.CompleteLabels', cut=0.95, opening=4),
        dict(type='mmwsss.SaveMask')
    ])
