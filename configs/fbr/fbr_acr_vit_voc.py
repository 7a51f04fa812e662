# FBR on ACR at the size of the paper, whose batch is one image: prototypes
# and foreign classes come from the images of all processes.
_base_ = '../acr/acr_vit_voc.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=768,
            num_classes=20,
            scores='cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            bank_size=50000)))
