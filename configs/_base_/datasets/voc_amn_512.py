# What AMN learns from: seed masks of the images of train_aug, made with
#   tools/refine_cams.py configs/refine/irn-labels_voc.py --cams CAMS \
#       --out work_dirs/irn_labels/voc
# At inference it reads them again, as seed_sem_seg. CAMs are measured on
# the masks of train, whose images have seeds.
_base_ = './voc_512.py'
crop_size = (512, 512)
seed_dir = 'work_dirs/irn_labels/voc'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.5, high=1.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=512),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadPseudoMask', key='seed_map'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    drop_last=True,
    dataset=dict(mask_dir=seed_dir, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(mask_dir=seed_dir, pipeline=test_pipeline))
test_dataloader = val_dataloader
