# SEAM with a MobileNetV2 on a small part of VOC: see docs/reproduction.md. 0.3
# of 224 pixels would leave 5 x 5 maps, so the second view has half the size.
_base_ = '../cam/cam_mobilenet-v2_voc-mini.py'
model = dict(
    cls_head=dict(loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(32, 96),
        channels=(32, 64)),
    localizer=dict(type='mmwsss.RefinedCAM'),
    second_view=dict(type='mmwsss.Rescale', scale=0.5),
    regularizers=dict(seam=dict(type='mmwsss.EquivariantRegularization')))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(refiner=dict(lr_mult=10.))))
