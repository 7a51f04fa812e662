# What all trainings of segmentation models share: they learn from pseudo masks
# and are measured on true ones. Data and crops stand in the files that inherit
# this.
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]
# With --tta: three scales and their mirror images.
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=s, keep_ratio=True)
                for s in (0.75, 1.0, 1.25)
            ],
            [
                dict(type='RandomFlip', prob=0.),
                dict(type='RandomFlip', prob=1.)
            ],
            # After the resize: the mask stays at the image's own size.
            [dict(type='mmwsss.LoadMask')],
            [dict(type='mmwsss.PackWSSSInputs')],
        ])
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='mmwsss.SeededSampler', shuffle=True),
    # And dataset, mask_dir, pipeline. The masks are those of
    # tools/refine_cams.py or tools/test.py --out.
    dataset=dict(type='mmwsss.PseudoMaskDataset'))
val_dataloader = dict(
    # Images have their own sizes.
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    # And type, data_root, ann_file, labels_file.
    dataset=dict(with_masks=True, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
