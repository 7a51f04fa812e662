# FBR on ACR at the size of the paper, whose batch is one image: prototypes
# and foreign classes come from the images of all processes.
_base_ = ['../acr/acr_vit_voc.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=768,
            num_classes=20,
            scores='cams')))
