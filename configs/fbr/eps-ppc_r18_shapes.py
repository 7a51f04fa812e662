# PPC on EPS on the generated Shapes images, on the narrow ResNet-18 of
# cam_r18_shapes.py from random weights; 12 x 12 and 6 x 6 maps.
_base_ = '../cam/cam_r18_shapes.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadSaliency', threshold=None),
    dict(type='mmwsss.RandomLongSideResize', low=86, high=109),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(saliency_path='Saliency'), pipeline=train_pipeline))
model = dict(
    cls_head=dict(
        with_background=True, loss_weight=0.5, pool_at_image_size=False),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(64, 128),
        channels=(32, 64)),
    localizer=dict(type='mmwsss.SoftmaxCAM'),
    # As in seam_r18_shapes.py.
    second_view=dict(type='mmwsss.Rescale', scale=0.5),
    regularizers=dict(
        eps=dict(
            type='mmwsss.ExplicitPseudoPixelSupervision', refined_weight=1.),
        seam=dict(type='mmwsss.EquivariantRegularization'),
        ppc=dict(
            type='mmwsss.PixelPrototypeContrast',
            in_channels=256,
            num_classes=6,
            background_score=0.1,
            area_divisor=16)),
    test_cfg=dict(normalize='max', threshold=0.22))
val_evaluator = dict(fixed_threshold=0.22)
test_evaluator = val_evaluator
