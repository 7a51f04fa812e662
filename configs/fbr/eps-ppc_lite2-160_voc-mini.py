# PPC on EPS with an EfficientNet-Lite2 on a small part of VOC, with the
# saliency maps of data/voc_mini/Saliency.
_base_ = '../cam/cam_lite2-160_voc-mini.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadSaliency', threshold=127),
    dict(type='mmwsss.RandomSquareCrop', size=160, scale=(0.6, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(saliency_path='Saliency'), pipeline=train_pipeline))
model = dict(
    cls_head=dict(with_background=True, loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(48, 120),
        channels=(32, 64)),
    localizer=dict(type='mmwsss.SoftmaxCAM'),
    second_view=dict(type='mmwsss.Rescale', scale=0.5),
    regularizers=dict(
        eps=dict(
            type='mmwsss.ExplicitPseudoPixelSupervision', refined_weight=1.),
        seam=dict(type='mmwsss.EquivariantRegularization'),
        ppc=dict(
            type='mmwsss.PixelPrototypeContrast',
            in_channels=1280,
            num_classes=20,
            background_score=0.1,
            area_divisor=16)),
    test_cfg=dict(normalize='max', threshold=0.22))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(
        refiner=dict(lr_mult=10.), regularizers=dict(lr_mult=10.))))
val_evaluator = dict(fixed_threshold=0.22)
test_evaluator = val_evaluator
