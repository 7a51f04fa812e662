# Two papers in one model: a ViT whose attention (ACR) and CAMs (SEAM)
# must follow the mirrored image.
_base_ = '../cam/cam_vit_shapes.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(128, ),
        channels=(64, ),
        in_index=(-1, )),
    regularizers=dict(
        acr=dict(
            type='mmwsss.AllPairsConsistency',
            loss_weight=30.,
            num_tokens=576),
        seam=dict(type='mmwsss.EquivariantRegularization')))
