# SEAM with an EfficientNet-Lite2 on a small part of VOC. As with the
# MobileNetV2, the second view has half the size. CAMs are pooled like the
# baseline's.
_base_ = '../cam/cam_lite2-160_voc-mini.py'
model = dict(
    cls_head=dict(loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(48, 120),
        channels=(32, 64)),
    localizer=dict(type='mmwsss.RefinedCAM'),
    second_view=dict(type='mmwsss.Rescale', scale=0.5),
    regularizers=dict(seam=dict(type='mmwsss.EquivariantRegularization')))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(refiner=dict(lr_mult=10.))))
