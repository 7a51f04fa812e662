# SEAM on the generated Shapes images, on a narrow ResNet-18 from random
# weights. 0.3 of 96 pixels would leave 4 x 4 maps, so the second view has half
# the size.
_base_ = '../cam/cam_r18_shapes.py'
model = dict(
    cls_head=dict(loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(64, 128),
        channels=(32, 64)),
    localizer=dict(type='mmwsss.RefinedCAM'),
    second_view=dict(type='mmwsss.Rescale', scale=0.5),
    regularizers=dict(seam=dict(type='mmwsss.EquivariantRegularization')))
