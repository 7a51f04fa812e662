# FBR on the CAM baseline at the size of the papers.
_base_ = '../cam/cam_r50_voc.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=2048,
            num_classes=20,
            scores='cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            bank_size=50000)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
