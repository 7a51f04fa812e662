# voc_amn_512.py for the small part of VOC, with the crops of its classifiers.
# Seeds:
#   tools/refine_cams.py configs/refine/irn-labels_voc-mini.py --cams CAMS \
#       --out work_dirs/irn_labels/voc-mini
# Only training images have seeds, so CAMs are measured on these.
_base_ = './voc-mini_224.py'
seed_dir = 'work_dirs/irn_labels/voc-mini'
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomSquareCrop', size=224, scale=(0.6, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadPseudoMask', key='seed_map'),
    dict(type='mmwsss.SquareResize', size=224),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(mask_dir=seed_dir, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/train_bal.txt',
        mask_dir=seed_dir,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
