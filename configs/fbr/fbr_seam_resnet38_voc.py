# FBR on SEAM at the size of the papers.
_base_ = '../seam/seam_resnet38_voc.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=4096,
            num_classes=20,
            scores='refined_cams',
            both_views=True,
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            grid=(16, 16),
            bank_size=50000)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
