# voc_amn_512.py for the generated Shapes images. Seeds:
#   tools/refine_cams.py configs/refine/irn-labels_shapes.py --cams CAMS \
#       --out work_dirs/irn_labels/shapes
# Only training images have seeds, so CAMs are measured on these, like
# on VOC.
_base_ = './shapes.py'
seed_dir = 'work_dirs/irn_labels/shapes'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.8, high=1.25),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadPseudoMask', key='seed_map'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(mask_dir=seed_dir, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        mask_dir=seed_dir,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
