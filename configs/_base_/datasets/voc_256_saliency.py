# PASCAL VOC 2012 as GETAM trains on it: tags, and saliency maps if there are
# any. Measures masks on val (1,449 images).
# Saliency: one 8-bit picture per image, Saliency/{id}.png, by any detector.
# Without one, see configs/getam/README.md.
_base_ = './voc_384.py'
crop_size = (256, 256)
saliency = dict(saliency_path='Saliency')
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadSaliency'),
    # [int(0.9 * 256), int(256 / 0.875)]
    dict(type='mmwsss.RandomLongSideResize', low=230, high=292),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=256),
    dict(type='mmwsss.PackWSSSInputs')
]
# One of the three sizes of the test; the others come with --tta.
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.SquareResize', size=320),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[[
            # The published test resizes whole grey levels.
            dict(type='Resize', scale=(size, size), keep_ratio=False)
            for size in (256, 320, 480)
        ], [dict(type='mmwsss.LoadMask')],
                    [dict(type='mmwsss.PackWSSSInputs')]])
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(data_prefix=saliency, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        # Tags of val would only name the classes of pseudo labels.
        pipeline=test_pipeline))
test_dataloader = val_dataloader
