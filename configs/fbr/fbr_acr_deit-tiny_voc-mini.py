# FBR on ACR with a small ViT, on a small part of VOC: see
# docs/reproduction.md.
_base_ = '../acr/acr_deit-tiny_voc-mini.py'
model = dict(
    regularizers=dict(
        fbr=dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=192,
            num_classes=20,
            scores='cams',
            unsure_ratio=0.6,
            entropy_quantile=0.1,
            top_share=1 / 16,
            bank_size=50000,
            # After an epoch: before, an untrained head labels the positions.
            start_iter=44)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
