# seam-acr_vit_shapes.py with a small pretrained ViT, on a small part of VOC.
_base_ = '../acr/acr_deit-tiny_voc-mini.py'
model = dict(
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(192, ),
        channels=(64, ),
        in_index=(-1, )),
    regularizers=dict(seam=dict(type='mmwsss.EquivariantRegularization')))
# As in seam_mobilenet-v2_voc-mini.py.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(refiner=dict(lr_mult=10.))))
