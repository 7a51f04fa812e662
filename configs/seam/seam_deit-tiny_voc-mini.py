# SEAM's terms and module on a small pretrained ViT: acr_deit-tiny_voc-mini.py
# with CAMs instead of attention that must follow the mirrored image.
# Read out by GETAM like its neighbours, to compare what training brings; the
# refined maps: localizer=dict(_delete_=True, type='mmwsss.RefinedCAM').
_base_ = '../cam/cam_deit-tiny_voc-mini.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(192, ),
        channels=(64, ),
        in_index=(-1, )),
    regularizers=dict(seam=dict(type='mmwsss.EquivariantRegularization')))
# As in seam_mobilenet-v2_voc-mini.py.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(refiner=dict(lr_mult=10.))))
