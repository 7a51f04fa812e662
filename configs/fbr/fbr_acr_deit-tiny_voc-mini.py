# FBR on ACR with a small ViT, on a small part of VOC: see
# docs/reproduction.md.
_base_ = ['../acr/acr_deit-tiny_voc-mini.py', '../_base_/models/fbr.py']
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=192,
            num_classes=20,
            scores='cams',
            # After an epoch: before, an untrained head labels the positions.
            start_iter=44)))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
