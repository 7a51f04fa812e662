# What IRNet learns from: confident labels of the images of train_aug, made
# with
#   tools/refine_cams.py configs/refine/irn-labels_voc.py --cams CAMS \
#       --out work_dirs/irn_labels/voc
# The walk is measured on the masks of train.
_base_ = './voc_affinity_448.py'
crop_size = (512, 512)
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.DownscaleLabel', factor=4),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        # It learns from masks, not from scores.
        low_score_dir=None,
        high_score_dir=None,
        mask_dir='work_dirs/irn_labels/voc',
        pipeline=train_pipeline))
