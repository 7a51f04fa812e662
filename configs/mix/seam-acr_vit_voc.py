# seam-acr_vit_shapes.py at the size of ACR's paper: attention (ACR) and CAMs
# (SEAM) of a ViT must follow the mirrored image. Its tokens are ordered
# like the first view's, so nothing is permuted for either term.
_base_ = '../acr/acr_vit_voc.py'
model = dict(
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        # The last map only: all of a ViT's have one stride.
        in_channels=(768, ),
        channels=(192, ),
        in_index=(-1, )),
    regularizers=dict(seam=dict(type='mmwsss.EquivariantRegularization')))
